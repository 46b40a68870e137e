//! The state of services, as load balancers and orchestrators ask for it.
//!
//! There is one name, the empty one, for all services together. Clients are let in once the member can serve, so
//! whoever asks is answered that it does.

use proto::health::health_check_response::ServingStatus;
use proto::health::{HealthCheckRequest, HealthCheckResponse, HealthListResponse};

use super::encode::Encoded;
use super::{Api, Error};

impl Api {
    /// Whether a service serves.
    pub(crate) fn health(&self, request: &HealthCheckRequest) -> Result<Encoded, Error> {
        if request.service.is_empty() {
            Ok(health(ServingStatus::Serving))
        } else {
            Err(Error::UnknownService)
        }
    }

    /// What a watch of a service begins with. A service that is not known is none yet: that is no error.
    pub(crate) fn watched_health(&self, request: &HealthCheckRequest) -> Encoded {
        let is_known = request.service.is_empty();
        health(if is_known { ServingStatus::Serving } else { ServingStatus::ServiceUnknown })
    }

    /// Every service with its state.
    pub(crate) fn health_list(&self) -> Encoded {
        let serving = HealthCheckResponse { status: ServingStatus::Serving as i32 };
        Encoded::message(&HealthListResponse { statuses: [(String::new(), serving)].into() })
    }
}

fn health(status: ServingStatus) -> Encoded {
    Encoded::message(&HealthCheckResponse { status: status as i32 })
}

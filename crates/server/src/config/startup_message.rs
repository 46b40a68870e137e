//! What is logged about the settings, once they are read and logging has started.

use tracing::{info, warn};

/// Something about the settings that an operator wants to know of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StartupMessage {
    /// A variable that set a flag.
    VariableUsed {
        /// Name of the variable.
        name: String,
        /// Its value.
        value: String,
    },
    /// A variable with our prefix that sets no flag.
    VariableUnknown {
        /// Name of the variable.
        name: String,
        /// Its value.
        value: String,
    },
    /// A variable with the name of a flag that it must not set.
    VariableReserved {
        /// Name of the variable.
        name: String,
        /// Its value.
        value: String,
    },
    /// All settings come from a file.
    FileLoaded {
        /// Where it lies.
        path: String,
    },
    /// HTTP and gRPC share their port.
    SharedPort,
    /// The member has the name that every member has by default.
    DefaultName,
    /// The data directory was not given.
    DefaultDataDir {
        /// The one that is used.
        path: String,
    },
    /// A flag was given that changes nothing.
    NoEffect {
        /// Name of the flag.
        flag: &'static str,
        /// Why.
        reason: &'static str,
    },
    /// A certificate was given for a URL without TLS.
    CertificateIgnored {
        /// The URL.
        url: String,
    },
    /// Clients must present a certificate at a URL without TLS.
    ClientCertAuthIgnored {
        /// The URL.
        url: String,
    },
    /// A text of etcd's.
    Words(&'static str),
}

impl StartupMessage {
    /// Writes it to the log.
    pub(crate) fn log(&self) {
        match self {
            StartupMessage::VariableUsed { name, value } => info!(
                "variable-name" = name,
                "variable-value" = value,
                "recognized and used environment variable"
            ),
            StartupMessage::VariableUnknown { name, value } => {
                warn!(
                    "environment-variable" = format!("{name}={value}"),
                    "unrecognized environment variable"
                );
            }
            StartupMessage::VariableReserved { name, value } => {
                warn!(key = name, value, "cannot set special environment variable");
            }
            StartupMessage::FileLoaded { path } => info!(
                path,
                "loaded server configuration, other configuration command line flags and environment variables \
                 will be ignored if provided"
            ),
            StartupMessage::SharedPort => {
                warn!("Running http and grpc server on single port. This is not recommended for production.");
            }
            StartupMessage::DefaultName => warn!(
                name = super::DEFAULT_NAME,
                "it isn't recommended to use default name, please set a value for --name. Note that etcd might \
                 run into issue when multiple members have the same default name"
            ),
            StartupMessage::DefaultDataDir { path } => {
                warn!("data-dir" = path, "'data-dir' was empty; using default");
            }
            StartupMessage::NoEffect { flag, reason } => {
                info!(flag = format!("--{flag}"), reason, "this flag has no effect here");
            }
            StartupMessage::CertificateIgnored { url } => warn!(
                "client-url" = url,
                "scheme is http or unix while key and cert files are present; ignoring key and cert files"
            ),
            StartupMessage::ClientCertAuthIgnored { url } => warn!(
                "client-url" = url,
                "scheme is http or unix while --client-cert-auth is enabled; ignoring client cert auth for this URL"
            ),
            StartupMessage::Words(text) => warn!("{text}"),
        }
    }
}

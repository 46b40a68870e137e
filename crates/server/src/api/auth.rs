//! Users, roles and permissions, as a cluster answers that has none of them.
//!
//! Authentication is always off here, and nothing can be created yet. Clients that carry a user and a password work
//! all the same, as with etcd: they are told that authentication is off and go on without a token. Every answer is
//! linearizable; unlike in etcd no question takes a place in the log.

use prost::Message;
use proto::authpb::Permission;
use proto::etcdserverpb::{
    AuthDisableResponse, AuthRoleAddRequest, AuthRoleGrantPermissionRequest, AuthRoleListResponse,
    AuthStatusResponse, AuthUserAddRequest, AuthUserChangePasswordRequest, AuthUserListResponse,
};

use super::encode::Encoded;
use super::{Api, Error};

/// The revision of the users and roles of a cluster that never had any.
pub(super) const FIRST_REVISION: u64 = 1;

/// Longest password in bytes: bcrypt looks at no more.
const PASSWORD_LEN_MAX: usize = 72;

/// The end of a range that has no end.
const OPEN_END: &[u8] = b"\0";

/// Why a request about users and roles is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AuthRefusal {
    /// There is nothing to authenticate for.
    NotEnabled,
    /// Authentication cannot be switched on before there is a user called `root`.
    RootUserMissing,
    /// A user needs a name.
    UserNameEmpty,
    /// No user has this name.
    UserNotFound,
    /// A role needs a name.
    RoleNameEmpty,
    /// No role has this name.
    RoleNotFound,
    /// A grant names no permission.
    PermissionMissing,
    /// A permission is for no key, or its range ends before it begins.
    PermissionInvalid,
    /// The password has more bytes than count.
    PasswordTooLong,
}

impl AuthRefusal {
    /// etcd's wording.
    pub(super) fn text(self) -> &'static str {
        match self {
            AuthRefusal::NotEnabled => "etcdserver: authentication is not enabled",
            AuthRefusal::RootUserMissing => "etcdserver: root user does not exist",
            AuthRefusal::UserNameEmpty => "etcdserver: user name is empty",
            AuthRefusal::UserNotFound => "etcdserver: user name not found",
            AuthRefusal::RoleNameEmpty => "etcdserver: role name is empty",
            AuthRefusal::RoleNotFound => "etcdserver: role name not found",
            AuthRefusal::PermissionMissing => "etcdserver: permission not given",
            AuthRefusal::PermissionInvalid => "etcdserver: invalid auth management",
            AuthRefusal::PasswordTooLong => "bcrypt: password length exceeds 72 bytes",
        }
    }
}

impl Api {
    /// That authentication is off.
    pub(crate) async fn auth_status(&self) -> Result<Encoded, Error> {
        self.wait_readable().await?;
        let header = Some(self.response_header_now());
        let (enabled, auth_revision) = (false, FIRST_REVISION);
        Ok(Encoded::message(&AuthStatusResponse { header, enabled, auth_revision }))
    }

    /// Switches authentication off, which it is already: that is no error.
    pub(crate) async fn auth_disable(&self) -> Result<Encoded, Error> {
        self.wait_readable().await?;
        Ok(Encoded::message(&AuthDisableResponse { header: Some(self.response_header_now()) }))
    }

    /// Lists the users: none.
    pub(crate) async fn user_list(&self) -> Result<Encoded, Error> {
        self.wait_readable().await?;
        let header = Some(self.response_header_now());
        Ok(Encoded::message(&AuthUserListResponse { header, users: Vec::new() }))
    }

    /// Lists the roles: none.
    pub(crate) async fn role_list(&self) -> Result<Encoded, Error> {
        self.wait_readable().await?;
        let header = Some(self.response_header_now());
        Ok(Encoded::message(&AuthRoleListResponse { header, roles: Vec::new() }))
    }

    /// Refuses a request that is about something there is not.
    pub(crate) async fn refuse_auth(
        &self,
        request: &impl Message,
        refusal: AuthRefusal,
    ) -> Result<Encoded, Error> {
        if request.encoded_len() > self.settings.max_request_bytes {
            return Err(Error::RequestTooLarge);
        }
        self.wait_readable().await?;
        Err(Error::Auth(refusal))
    }

    /// Refuses to change a password: there are no users.
    pub(crate) async fn user_change_password(
        &self,
        request: &AuthUserChangePasswordRequest,
    ) -> Result<Encoded, Error> {
        if request.password.len() > PASSWORD_LEN_MAX {
            return Err(Error::Auth(AuthRefusal::PasswordTooLong));
        }
        self.refuse_auth(request, AuthRefusal::UserNotFound).await
    }

    /// Refuses to add a user: that is to come.
    pub(crate) async fn user_add(&self, request: &AuthUserAddRequest) -> Result<Encoded, Error> {
        let has_password = !request.options.as_ref().is_some_and(|options| options.no_password);
        if has_password && request.password.len() > PASSWORD_LEN_MAX {
            return Err(Error::Auth(AuthRefusal::PasswordTooLong));
        }
        if request.name.is_empty() {
            return self.refuse_auth(request, AuthRefusal::UserNameEmpty).await;
        }
        Err(Error::Unsupported("etcdserverpb.Auth/UserAdd is not supported by this version yet"))
    }

    /// Refuses to add a role: that is to come.
    pub(crate) async fn role_add(&self, request: &AuthRoleAddRequest) -> Result<Encoded, Error> {
        if request.name.is_empty() {
            return self.refuse_auth(request, AuthRefusal::RoleNameEmpty).await;
        }
        Err(Error::Unsupported("etcdserverpb.Auth/RoleAdd is not supported by this version yet"))
    }

    /// Refuses to grant a permission: what is wrong with the permission comes before the role that is not there.
    pub(crate) async fn role_grant_permission(
        &self,
        request: &AuthRoleGrantPermissionRequest,
    ) -> Result<Encoded, Error> {
        let refusal = match &request.perm {
            None => AuthRefusal::PermissionMissing,
            Some(permission) if !has_valid_range(permission) => AuthRefusal::PermissionInvalid,
            Some(_) => AuthRefusal::RoleNotFound,
        };
        self.refuse_auth(request, refusal).await
    }
}

/// Whether a permission is for one key, for a range that holds keys, or for a range without end.
fn has_valid_range(permission: &Permission) -> bool {
    let (key, end) = (&permission.key, &permission.range_end);
    !key.is_empty() && (end.is_empty() || key < end || end == OPEN_END)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permission_is_for_a_key_or_a_range_that_holds_keys() {
        let is_valid = |key: &'static str, range_end: &'static str| {
            let (key, range_end) = (key.into(), range_end.into());
            has_valid_range(&Permission { perm_type: 0, key, range_end })
        };
        assert!(is_valid("a", "") && is_valid("a", "b") && is_valid("a", "\0"));
        assert!(!is_valid("", "") && !is_valid("", "b") && !is_valid("b", "a") && !is_valid("a", "a"));
    }
}

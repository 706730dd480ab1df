//! What the users service says on `rtc.users` (key: user id).
//!
//! Personal data and one-time codes travel sealed (AES-256-GCM, base64url): the log holds no address and no code.

use kernel::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{Role, SessionId, UserId, events};

/// Text sealed by the platform's vault: `<key id>.<nonce and ciphertext, base64url>`.
pub type Sealed = String;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserRegistered {
    pub user_id: UserId,
    pub role: Role,
    pub email: Sealed,
    pub name: Sealed,
    /// `ko` or `en`: the language of mail.
    pub locale: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerificationRequested {
    pub user_id: UserId,
    pub email: Sealed,
    pub code: Sealed,
    pub expires_at: Timestamp,
    pub locale: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EmailVerified {
    pub user_id: UserId,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleChanged {
    pub user_id: UserId,
    pub old: Role,
    pub new: Role,
    /// Access tokens issued before this instant are no longer good.
    pub tokens_valid_from: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionRevoked {
    pub user_id: UserId,
    pub session_id: SessionId,
    pub reason: SessionEnd,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionEnd {
    SignedOut,
    RefreshTokenReused,
    ByAdmin,
}

events! {
    UserRegistered => "rtc.users.user_registered.v1",
    VerificationRequested => "rtc.users.verification_requested.v1",
    EmailVerified => "rtc.users.email_verified.v1",
    RoleChanged => "rtc.users.role_changed.v1",
    SessionRevoked => "rtc.users.session_revoked.v1",
}

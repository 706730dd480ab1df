//! The password that clients sign in with, and which of them have to give way once it is another one: librdkafka signs in with
//! the password that a client was made with, at each of its connections.
//!
//! Invariants:
//! - whoever makes a client asks for the password of the moment;
//! - where brokers have refused it, it is asked for again until it is another one; whoever was refused with an earlier one is
//!   then made anew;
//! - nobody else is: connections that are signed in are good, and whoever was refused with the password of the moment would be
//!   refused again. librdkafka tries that by itself.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use bus::Error;

use crate::Password;
use crate::client::lock;

#[derive(Default)]
pub(crate) struct SignIn {
    provider: Option<Password>,
    /// What was last answered.
    latest: Mutex<Option<String>>,
    /// Brokers have refused that.
    is_refused: AtomicBool,
}

impl SignIn {
    pub fn new(provider: Option<Password>) -> Arc<Self> {
        Arc::new(Self { provider, ..Self::default() })
    }

    /// The password of the moment. Whoever gives it may read a file: not for a thread that drives others' work.
    pub fn ask(&self) -> Result<String, Error> {
        let provider = self.provider.as_ref().ok_or_else(|| {
            Error::Misconfigured("signing in needs a password, and nobody gives one".to_owned())
        })?;
        let password = provider()
            .map_err(|reason| Error::Misconfigured(format!("the password cannot be had: {reason}")))?;
        let mut latest = lock(&self.latest);
        if latest.as_ref() != Some(&password) {
            *latest = Some(password.clone());
            self.is_refused.store(false, Ordering::Release);
        }
        Ok(password)
    }

    /// Asks again where the password was refused. Called about twice a second.
    pub fn look(&self) {
        if !self.is_refused.load(Ordering::Acquire) {
            return;
        }
        match self.ask() {
            Ok(_) if !self.is_refused.load(Ordering::Acquire) => {
                tracing::info!("kafka: there is another password, clients that were refused are made anew");
            }
            Ok(_) => {}
            // Said by whoever makes a client.
            Err(error) => tracing::debug!(%error, "kafka: the password"),
        }
    }
}

/// What one client was made with.
#[derive(Default)]
pub(crate) struct Shown {
    sign_in: Arc<SignIn>,
    password: Option<String>,
    is_refused: AtomicBool,
}

impl Shown {
    pub fn new(sign_in: &Arc<SignIn>, password: Option<String>) -> Self {
        Self { sign_in: sign_in.clone(), password, is_refused: AtomicBool::new(false) }
    }

    pub fn refused(&self) {
        self.is_refused.store(true, Ordering::Release);
        if !self.is_old() {
            self.sign_in.is_refused.store(true, Ordering::Release);
        }
    }

    /// There has been another one since.
    pub fn is_old(&self) -> bool {
        self.password != *lock(&self.sign_in.latest)
    }

    pub fn gives_way(&self) -> bool {
        self.is_refused.load(Ordering::Acquire) && self.is_old()
    }
}

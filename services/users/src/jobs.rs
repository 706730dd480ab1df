//! What goes away with time: sessions, codes, counted attempts, keys, and the memory of revoked tokens.

use async_trait::async_trait;
use kernel::Result;
use messaging::{Job, Progress};

use crate::Users;
use crate::store::{codes, keys, sessions};

pub(crate) struct Expire(pub Users);

#[async_trait]
impl Job for Expire {
    async fn run(&self) -> Result<Progress> {
        let users = self.0.clone();
        let now = users.clock.now();
        let swept = self
            .0
            .db
            .write(move |tx| -> Result<usize> {
                let window = users.config.lockout_window();
                let swept = sessions::sweep(tx, now)? + codes::sweep(tx, now, window)?;
                let dead = keys::delete_dead(tx, now)?;
                let count = swept + dead.len();
                let verifier = users.verifier.clone();
                tx.after_commit(move || dead.iter().for_each(|kid| verifier.remove_key(kid)));
                Ok(count)
            })
            .await?;
        self.0.revocations.forget_before(now);
        Ok(Progress::from_count(swept))
    }
}

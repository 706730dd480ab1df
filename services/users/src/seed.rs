//! Accounts that the embedded profile makes itself: an administrator, a shopper for the demonstration, and shoppers
//! for load tests.
//!
//! Invariant: made once; what is there already stays as it is.

use std::ops::RangeInclusive;

use contracts::Role;
use kernel::{Error, Result};

use crate::accounts::{Address, NewAccount};
use crate::admin::Shopper;
use crate::domain::email::Email;
use crate::domain::secret::Secret;
use crate::sessions::Issued;
use crate::store::users as store;
use crate::{Parts, Users};

/// How many shoppers share a transaction.
const PORTION: usize = 250;

impl Parts {
    fn made_up(
        &self,
        email: &str,
        name: &str,
        role: Role,
        password_hash: Option<String>,
    ) -> Result<NewAccount> {
        let email = Email::parse(email).ok_or_else(|| Error::internal("a made-up address is wrong"))?;
        Ok(NewAccount {
            email_index: self.email_index(&email),
            email: self.vault.seal(email.as_str())?,
            name: self.vault.seal(name)?,
            phone: None,
            address: None,
            locale: "ko".to_owned(),
            password_hash,
            role,
        })
    }
}

/// `admin@rtc.local` and `demo@rtc.local`, verified.
pub(crate) async fn accounts(users: &Users, admin_password: &str) -> Result<()> {
    let wanted = [
        ("admin@rtc.local", "Administrator", Role::Admin, admin_password),
        ("demo@rtc.local", "Demo Shopper", Role::Customer, "demo shopper 2026"),
    ];
    for (email, name, role, password) in wanted {
        let mut account = users.made_up(email, name, role, None)?;
        let index = account.email_index.clone();
        // Looked for first, so that a start costs a hash only where there is something to make.
        if users.db.read(move |tx| store::by_email(tx, &index)).await?.is_some() {
            continue;
        }
        account.password_hash = Some(users.hasher.hash(&Secret::new(password)).await?);
        let this = users.clone();
        users
            .db
            .write(move |tx| -> Result<()> {
                // Another replica may be starting too.
                if store::by_email(tx, &account.email_index)?.is_none() {
                    this.create(tx, &account, Address::Verified)?;
                }
                Ok(())
            })
            .await?;
    }
    Ok(())
}

/// Verified customers without a password, and an access token for each.
pub(crate) async fn shoppers(users: &Users, numbers: RangeInclusive<u32>) -> Result<Vec<Shopper>> {
    let life = users.config.shopper_token_life();
    let numbers: Vec<u32> = numbers.collect();
    let mut shoppers = Vec::with_capacity(numbers.len());
    for portion in numbers.chunks(PORTION) {
        let accounts = portion.iter().map(|n| {
            let email = format!("shopper-{n:04}@load.rtc.local");
            users.made_up(&email, &format!("Shopper {n:04}"), Role::Customer, None)
        });
        let accounts: Vec<NewAccount> = accounts.collect::<Result<_>>()?;
        let this = users.clone();
        let issued = users
            .db
            .write(move |tx| -> Result<Vec<Issued>> {
                let mut issued = Vec::with_capacity(accounts.len());
                for account in &accounts {
                    let user = match store::by_email(tx, &account.email_index)? {
                        Some(user) => user,
                        None => this.create(tx, account, Address::Verified)?,
                    };
                    let now = this.clock.now();
                    issued.push(this.open_session(tx, user, life, now)?);
                }
                Ok(issued)
            })
            .await?;
        for one in &issued {
            shoppers.push(Shopper { user_id: one.user.id, access_token: users.access_token(one, life)? });
        }
        tokio::task::yield_now().await;
    }
    Ok(shoppers)
}

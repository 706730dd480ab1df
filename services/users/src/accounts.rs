//! Signing up, changing one's own data, changing a role.

use std::time::Duration;

use contracts::users::{EmailVerified, RoleChanged, UserRegistered};
use contracts::{Role, UserId, topics};
use db::Tx;
use kernel::{Error, FieldError, Result, Timestamp};
use serde::Deserialize;
use web::{Answer, IfMatch, RequestKey};

use crate::domain::email::Email;
use crate::domain::password;
use crate::domain::secret::Secret;
use crate::queries::{UserView, no_such_user};
use crate::store::users::{self as store, UserRow};
use crate::{Parts, Users, store::sessions};

const NAME_MAX: usize = 100;
const PHONE_MAX: usize = 32;
const ADDRESS_MAX: usize = 300;

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Registration {
    pub email: Secret,
    /// 10–128 characters.
    pub password: Secret,
    pub name: Secret,
    #[serde(default)]
    pub phone: Option<Secret>,
    #[serde(default)]
    pub address: Option<Secret>,
    /// `ko` (default) or `en`: the language of mail.
    #[serde(default)]
    pub locale: Option<String>,
}

/// What a user may change of themselves. An absent field stays, `null` takes it away.
#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Change {
    #[serde(default)]
    name: Option<Secret>,
    #[serde(default, deserialize_with = "present")]
    phone: Option<Option<Secret>>,
    #[serde(default, deserialize_with = "present")]
    address: Option<Option<Secret>>,
    #[serde(default)]
    locale: Option<String>,
}

fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Option<Secret>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// Collects what is wrong with the fields of a request.
#[derive(Default)]
struct Faults(Vec<FieldError>);

impl Faults {
    fn add(&mut self, pointer: &str, code: &str, detail: impl Into<String>) {
        self.0.push(FieldError { pointer: pointer.to_owned(), code: code.to_owned(), detail: detail.into() });
    }

    fn text(&mut self, pointer: &str, text: &str, max: usize) -> String {
        let text = text.trim();
        let length = text.chars().count();
        if !(1..=max).contains(&length) || text.chars().any(char::is_control) {
            self.add(pointer, "invalid_text", format!("1 to {max} characters, without control characters"));
        }
        text.to_owned()
    }

    fn phone(&mut self, text: &str) -> String {
        let text = self.text("/phone", text, PHONE_MAX);
        let digits = text.chars().filter(char::is_ascii_digit).count();
        if digits < 5 || !text.chars().all(|c| c.is_ascii_digit() || "+-() ".contains(c)) {
            self.add("/phone", "invalid_phone", "digits, spaces and + - ( ), at least 5 digits");
        }
        text
    }

    fn locale(&mut self, locale: &str) -> String {
        if !["ko", "en"].contains(&locale) {
            self.add("/locale", "unknown_locale", "locale is ko or en");
        }
        locale.to_owned()
    }
}

/// A new account, sealed and hashed, ready to be written.
#[derive(Debug, Clone)]
pub(crate) struct NewAccount {
    pub email_index: String,
    pub email: String,
    pub name: String,
    pub phone: Option<String>,
    pub address: Option<String>,
    pub locale: String,
    pub password_hash: Option<String>,
    pub role: Role,
}

/// Whether the address of a new account is known to be its owner's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Address {
    Unverified,
    Verified,
}

impl Parts {
    pub(crate) fn email_index(&self, email: &Email) -> String {
        self.vault.index("email", email.as_str())
    }

    /// Writes the account and says so. `email_taken` where there is one with this address.
    pub(crate) fn create(&self, tx: &mut Tx<'_>, new: &NewAccount, address: Address) -> Result<UserRow> {
        let now = self.clock.now();
        let user = UserRow {
            id: self.ids.next(),
            email: new.email.clone(),
            name: new.name.clone(),
            phone: new.phone.clone(),
            address: new.address.clone(),
            locale: new.locale.clone(),
            password_hash: new.password_hash.clone(),
            role: new.role,
            verified_at: (address == Address::Verified).then_some(now),
            tokens_valid_from: Timestamp::EPOCH,
            created_at: now,
            version: 1,
        };
        store::insert(tx, &user, &new.email_index).map_err(|error| match error {
            db::Error::Unique(_) => Error::conflict("email_taken", "there is an account with this address"),
            other => other.into(),
        })?;
        let registered = UserRegistered {
            user_id: user.id,
            role: user.role,
            email: user.email.clone(),
            name: user.name.clone(),
            locale: user.locale.clone(),
        };
        let subject = user.id.to_string();
        self.outbox.send(tx, topics::USERS, &subject, &registered, None)?;
        if address == Address::Verified {
            self.outbox.send(tx, topics::USERS, &subject, &EmailVerified { user_id: user.id }, None)?;
        }
        Ok(user)
    }
}

/// Opens an account. With a key, the same request gets the same answer; answer and fingerprint are kept sealed,
/// because both tell of a person.
pub(crate) async fn register(
    users: &Users,
    registration: Registration,
    key: Option<RequestKey>,
) -> Result<Answer> {
    let mut faults = Faults::default();
    let email = Email::parse(registration.email.reveal());
    if email.is_none() {
        faults.add("/email", "invalid_email", "this is no e-mail address");
    }
    let clear_password = registration.password.reveal();
    if let Err(weakness) = password::check(clear_password, email.as_ref().map(Email::as_str)) {
        faults.add("/password", weakness.code(), weakness.detail());
    }
    let name = faults.text("/name", registration.name.reveal(), NAME_MAX);
    let phone = registration.phone.as_ref().map(|phone| faults.phone(phone.reveal()));
    let address =
        registration.address.as_ref().map(|address| faults.text("/address", address.reveal(), ADDRESS_MAX));
    let locale = faults.locale(registration.locale.as_deref().unwrap_or("ko"));
    Error::check_fields(faults.0)?;
    let email = email.ok_or_else(|| Error::internal("an address that was checked"))?;

    let seal = |text: Option<&String>| text.map(|text| users.vault.seal(text)).transpose();
    let account = NewAccount {
        email_index: users.email_index(&email),
        email: users.vault.seal(email.as_str())?,
        name: users.vault.seal(&name)?,
        phone: seal(phone.as_ref())?,
        address: seal(address.as_ref())?,
        password_hash: Some(users.hasher.hash(&registration.password).await?),
        role: Role::Customer,
        locale: locale.clone(),
    };
    let key = key.map(|key| {
        let said = serde_json::json!([email.as_str(), clear_password, name, phone, address, locale]);
        let content = users.vault.index("registration", &said.to_string());
        RequestKey::new("", "POST /api/v1/users", key.as_str(), content.as_bytes())
    });
    let this = users.clone();
    let mut answer = users
        .db
        .write(move |tx| {
            let effect = |tx: &mut Tx<'_>| -> Result<Answer> {
                let view = this.view(&this.create(tx, &account, Address::Unverified)?)?;
                let mut answer = Answer::json(201, &view)?
                    .located(format!("/api/v1/users/{}", view.id))
                    .tagged(view.version);
                answer.body = this.vault.seal(&answer.body)?;
                Ok(answer)
            };
            match &key {
                Some(key) => web::once(tx, key, this.clock.now(), effect),
                None => effect(tx),
            }
        })
        .await?;
    answer.body = users.vault.open(&answer.body)?;
    Ok(answer)
}

pub(crate) async fn change(users: &Users, id: UserId, base: IfMatch, change: Change) -> Result<UserView> {
    let mut faults = Faults::default();
    let name = change.name.map(|name| faults.text("/name", name.reveal(), NAME_MAX));
    let phone = change.phone.map(|phone| phone.map(|phone| faults.phone(phone.reveal())));
    let address = change
        .address
        .map(|address| address.map(|address| faults.text("/address", address.reveal(), ADDRESS_MAX)));
    let locale = change.locale.map(|locale| faults.locale(&locale));
    Error::check_fields(faults.0)?;
    let seal = |text: Option<String>| text.map(|text| users.vault.seal(&text)).transpose();
    let name = seal(name)?;
    let phone = phone.map(seal).transpose()?;
    let address = address.map(seal).transpose()?;
    let user = users
        .db
        .write(move |tx| -> Result<UserRow> {
            let mut user = store::by_id(tx, id)?.ok_or_else(no_such_user)?;
            base.check(user.version)?;
            user.name = name.clone().unwrap_or(user.name);
            user.phone = phone.clone().unwrap_or(user.phone);
            user.address = address.clone().unwrap_or(user.address);
            user.locale = locale.clone().unwrap_or(user.locale);
            user.version += 1;
            store::update(tx, &user)?;
            Ok(user)
        })
        .await?;
    users.view(&user)
}

/// Gives a user another role, at once: access tokens with the old one are no longer good when this answers.
pub(crate) async fn change_role(users: &Users, id: UserId, base: IfMatch, new: Role) -> Result<UserView> {
    let this = users.clone();
    let user = users
        .db
        .write(move |tx| -> Result<UserRow> {
            let mut user = store::by_id(tx, id)?.ok_or_else(no_such_user)?;
            base.check(user.version)?;
            let old = user.role;
            if old == new {
                return Ok(user);
            }
            if old == Role::Admin && store::count_with_role(tx, Role::Admin)? == 1 {
                return Err(Error::conflict("last_admin", "somebody must remain who can change roles"));
            }
            // Later than every token with the old role, also where the clock has stepped back since.
            let last = sessions::last_issued_at(tx, id)?.unwrap_or(Timestamp::EPOCH);
            let from = this.clock.now().max(last).plus(Duration::from_millis(1));
            user.role = new;
            user.tokens_valid_from = from;
            user.version += 1;
            store::update(tx, &user)?;
            let changed = RoleChanged { user_id: id, old, new, tokens_valid_from: from };
            this.outbox.send(tx, topics::USERS, &id.to_string(), &changed, None)?;
            let revocations = this.revocations.clone();
            tx.once_it_may_be_stored(move || {
                tracing::info!(user_id = %id, %old, %new, "a role was changed");
                revocations.require_newer(id, from);
            });
            Ok(user)
        })
        .await?;
    users.view(&user)
}

//! What is shown of a user, and the list of all.

use contracts::{Role, UserId};
use kernel::{Error, Result, Timestamp};
use serde::{Deserialize, Serialize};
use web::{Page, Principal};

use crate::store::users::{self as store, UserRow};
use crate::{Parts, Users};

/// A user as the user and the administrators see it.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
pub(crate) struct UserView {
    pub id: UserId,
    pub email: String,
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phone: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// `ko` or `en`.
    pub locale: String,
    pub role: Role,
    /// The e-mail address is verified.
    pub verified: bool,
    pub created_at: Timestamp,
    pub version: i64,
}

impl Parts {
    /// Opens what is sealed.
    pub(crate) fn view(&self, user: &UserRow) -> Result<UserView> {
        let open = |sealed: &Option<String>| sealed.as_deref().map(|text| self.vault.open(text)).transpose();
        Ok(UserView {
            id: user.id,
            email: self.vault.open(&user.email)?,
            name: self.vault.open(&user.name)?,
            phone: open(&user.phone)?,
            address: open(&user.address)?,
            locale: user.locale.clone(),
            role: user.role,
            verified: user.verified_at.is_some(),
            created_at: user.created_at,
            version: user.version,
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    OldestFirst,
    NewestFirst,
}

impl Order {
    pub(crate) fn parse(sort: Option<&str>) -> Result<Self> {
        match sort {
            None | Some("created_at") => Ok(Order::OldestFirst),
            Some("-created_at") => Ok(Order::NewestFirst),
            Some(_) => Err(Error::field("/sort", "unknown_sort", "sort is created_at or -created_at")),
        }
    }
}

pub(crate) fn no_such_user() -> Error {
    Error::not_found("user_not_found", "there is no such user")
}

/// One user; for anybody but the user and administrators there is none.
pub(crate) async fn user(users: &Users, caller: Principal, id: UserId) -> Result<UserView> {
    if !caller.may_see(id) {
        return Err(no_such_user());
    }
    let found = users.db.read(move |tx| store::by_id(tx, id)).await?;
    users.view(&found.ok_or_else(no_such_user)?)
}

pub(crate) async fn list(
    users: &Users,
    order: Order,
    cursor: Option<&str>,
    limit: u32,
) -> Result<Page<UserView>> {
    let scope = format!("users?sort={order:?}");
    let after: Option<(i64, UserId)> = users.edge.pages.decode(&scope, cursor)?;
    let after = after.map(|(millis, id)| (Timestamp::from_millis(millis), id));
    let rows = users.db.read(move |tx| store::page(tx, order, after, limit + 1)).await?;
    let page = users.edge.pages.page(&scope, limit, rows, |row| (row.created_at.as_millis(), row.id))?;
    let data = page.data.iter().map(|row| users.view(row)).collect::<Result<_>>()?;
    Ok(Page { data, next_cursor: page.next_cursor })
}

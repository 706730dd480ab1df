//! The mailbox by API: what was sent to whom, for people who run the platform on their own machine.
//!
//! Invariant: only the embedded profile has these routes, and only an admin may call them: letters hold codes.

use axum::extract::State;
use contracts::Role;
use db::Db;
use host::Vault;
use kernel::{Error, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use web::{ApiResult, Json, Op, Page, PageParams, Pages, Path, Policy, Query, Routes};

use crate::mailer::MailboxOnDisk;
use crate::message;
use crate::store::{self, Delivered};

#[derive(Clone)]
pub(crate) struct Reader {
    pub db: Db,
    pub vault: Vault,
    pub pages: Pages,
    pub mailbox: MailboxOnDisk,
}

/// A letter as it was sent.
#[derive(Debug, Serialize, JsonSchema)]
struct MailView {
    id: i64,
    /// `verification`, `order_confirmed`, `order_rejected`, `order_cancelled`, `order_fulfilled`.
    kind: String,
    sent_at: Timestamp,
    message_id: String,
    from: String,
    to: String,
    subject: String,
    text: String,
}

/// The same with the message that went out, to the byte (RFC 5322).
#[derive(Debug, Serialize, JsonSchema)]
struct MailSource {
    #[serde(flatten)]
    mail: MailView,
    source: String,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct MailboxParams {
    /// Only letters to this address.
    to: Option<String>,
    /// 1–250, default 50.
    limit: Option<u32>,
    cursor: Option<String>,
}

const ADMIN: Policy = Policy::Roles(&[Role::Admin]);

pub(crate) fn routes() -> Routes<Reader> {
    Routes::new("notifications")
        .get(
            "/api/v1/mailbox",
            ADMIN,
            Op::new("Letters in the mailbox, the latest first (embedded profile)")
                .query::<MailboxParams>()
                .answers::<Page<MailView>>(200, "Letters"),
            list,
        )
        .get(
            "/api/v1/mailbox/{id}",
            ADMIN,
            Op::new("One letter with its source (embedded profile)")
                .answers::<MailSource>(200, "The letter")
                .fails(404, "mail_not_found"),
            show,
        )
}

/// `None` where the file of the letter has been removed to make room.
async fn read(reader: &Reader, row: &Delivered) -> Result<Option<(MailView, Vec<u8>)>, Error> {
    let Some(bytes) = reader.mailbox.read(row.place.clone()).await.map_err(Error::internal)? else {
        return Ok(None);
    };
    let view = message::parse(&bytes).map(|parsed| MailView {
        id: row.id,
        kind: row.kind.clone(),
        sent_at: row.sent_at,
        message_id: parsed.message_id,
        from: parsed.from,
        to: parsed.to,
        subject: parsed.subject,
        text: parsed.text,
    });
    Ok(view.map(|view| (view, bytes)))
}

async fn list(
    State(reader): State<Reader>,
    Query(params): Query<MailboxParams>,
) -> ApiResult<Json<Page<MailView>>> {
    let to_index = params.to.as_deref().map(|to| crate::address_index(&reader.vault, to));
    let scope = format!("mailbox {}", to_index.as_deref().unwrap_or("*"));
    let page = PageParams { limit: params.limit, cursor: params.cursor };
    let limit = page.limit()?;
    let before = reader.pages.decode::<i64>(&scope, page.cursor.as_deref())?.unwrap_or(i64::MAX);
    let rows = reader
        .db
        .read(move |tx| -> Result<_, db::Error> {
            store::delivered(tx, to_index.as_deref(), before, limit + 1)
        })
        .await
        .map_err(Error::from)?;
    let Page { data, next_cursor } = reader.pages.page(&scope, limit, rows, |row| row.id)?;
    let mut letters = Vec::with_capacity(data.len());
    for row in &data {
        letters.extend(read(&reader, row).await?.map(|(view, _)| view));
    }
    Ok(Json(Page { data: letters, next_cursor }))
}

async fn show(State(reader): State<Reader>, Path(id): Path<i64>) -> ApiResult<Json<MailSource>> {
    let missing = || Error::not_found("mail_not_found", "there is no such letter in the mailbox");
    let row = reader
        .db
        .read(move |tx| -> Result<_, db::Error> { store::delivered_one(tx, id) })
        .await
        .map_err(Error::from)?;
    let (mail, bytes) = read(&reader, &row.ok_or_else(missing)?).await?.ok_or_else(missing)?;
    Ok(Json(MailSource { mail, source: String::from_utf8_lossy(&bytes).into_owned() }))
}

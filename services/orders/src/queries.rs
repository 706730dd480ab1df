//! Orders as they are shown.

use std::collections::HashMap;

use contracts::{OrderId, ProductId, UserId};
use db::Tx;
use kernel::{Money, Timestamp};
use serde::Serialize;

use crate::domain::OrderState;
use crate::store::{self, HistoryRow, OrderRow};

#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
pub struct OrderView {
    pub id: OrderId,
    pub user_id: UserId,
    pub state: OrderState,
    /// Why it was rejected or cancelled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    pub total: Money,
    pub lines: Vec<LineView>,
    pub version: i64,
    pub placed_at: Timestamp,
    pub updated_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub history: Option<Vec<HistoryView>>,
}

#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
pub struct LineView {
    pub product_id: ProductId,
    pub sku: String,
    pub name: String,
    pub quantity: i64,
    pub unit_price: Money,
}

#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
pub struct HistoryView {
    pub sequence: i64,
    pub state: OrderState,
    pub at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl From<HistoryRow> for HistoryView {
    fn from(row: HistoryRow) -> Self {
        Self { sequence: row.sequence, state: row.state, at: row.entered_at, reason: row.reason }
    }
}

impl From<OrderRow> for OrderView {
    fn from(row: OrderRow) -> Self {
        let lines = row.lines.into_iter().map(|line| LineView {
            product_id: line.product_id,
            sku: line.sku,
            name: line.name,
            quantity: line.quantity,
            unit_price: line.unit_price,
        });
        Self {
            id: row.id,
            user_id: row.user_id,
            state: row.state,
            reason: row.reason,
            detail: row.detail,
            total: row.total,
            lines: lines.collect(),
            version: row.version,
            placed_at: row.placed_at,
            updated_at: row.updated_at,
            history: None,
        }
    }
}

fn shown(row: OrderRow, history: Vec<HistoryRow>) -> OrderView {
    let history = history.into_iter().map(HistoryView::from).collect();
    OrderView { history: Some(history), ..OrderView::from(row) }
}

/// One order with its history.
pub fn order(tx: &mut Tx<'_>, id: OrderId) -> Result<Option<OrderView>, db::Error> {
    Ok(store::with_history(tx, id)?.map(|(row, history)| shown(row, history)))
}

/// Several orders, each with its history; those that are not there are left out.
pub fn orders(tx: &mut Tx<'_>, ids: &[OrderId]) -> Result<HashMap<OrderId, OrderView>, db::Error> {
    let found = store::with_histories(tx, ids)?;
    Ok(found.into_iter().map(|(row, history)| (row.id, shown(row, history))).collect())
}

//! One text of every version of every message. A change that cannot read these any more breaks consumers that are
//! still behind, and this test.

use kernel::envelope::Event;

use crate::{catalog::*, inventory::*, orders::*, payments::*, users::*};

const ID: &str = "0199b4a0000070008000000000000001";

fn check<T: Event>(json: &str) {
    let json = json.replace("$", ID);
    let read: T = serde_json::from_str(&json).unwrap_or_else(|error| panic!("{}: {error}", T::TYPE));
    assert_eq!(serde_json::to_string(&read).unwrap(), json, "{}", T::TYPE);
}

#[test]
fn messages_of_inventory_keep_parsing() {
    check::<ReserveStock>(
        r#"{"order_id":"ord_$","lines":[{"sku":"TEA-1","quantity":2}],"expires_at":"2026-03-01T09:10:00.000Z"}"#,
    );
    let order_only = r#"{"order_id":"ord_$"}"#;
    check::<CommitStock>(order_only);
    check::<ReleaseStock>(order_only);
    check::<ReturnStock>(order_only);
    check::<StockCommitted>(order_only);
    check::<StockReleased>(order_only);
    check::<StockReturned>(order_only);
    check::<StockReserved>(r#"{"order_id":"ord_$","expires_at":"2026-03-01T09:10:00.000Z"}"#);
    let refused = r#"{"order_id":"ord_$","shortages":[{"sku":"TEA-1","requested":2,"available":1}]}"#;
    check::<StockRefused>(refused);
    check::<StockCommitRefused>(refused);
    let levels = r#""levels":[{"sku":"TEA-1","on_hand":8,"reserved":2,"version":7}]"#;
    check::<StockReserved>(&format!(
        r#"{{"order_id":"ord_$","expires_at":"2026-03-01T09:10:00.000Z",{levels}}}"#
    ));
    let order_and_levels = format!(r#"{{"order_id":"ord_$",{levels}}}"#);
    check::<StockCommitted>(&order_and_levels);
    check::<StockReleased>(&order_and_levels);
    check::<StockReturned>(&order_and_levels);
    check::<StockExpired>(&order_and_levels);
    check::<StockLow>(r#"{"sku":"TEA-1","available":3,"threshold":5}"#);
    check::<StockAdjusted>(r#"{"sku":"TEA-1","delta":5,"on_hand":8,"reserved":1,"reason":"received"}"#);
    check::<StockAdjusted>(
        r#"{"sku":"TEA-1","delta":5,"on_hand":8,"reserved":1,"reason":"received","version":9}"#,
    );
}

#[test]
fn messages_of_payments_keep_parsing() {
    check::<HoldPayment>(
        r#"{"order_id":"ord_$","user_id":"usr_$","amount":{"amount":129000,"currency":"KRW"}}"#,
    );
    let order_only = r#"{"order_id":"ord_$"}"#;
    check::<CapturePayment>(order_only);
    check::<ReleasePayment>(order_only);
    check::<RefundPayment>(order_only);
    check::<PaymentReleased>(order_only);
    let moved = r#"{"order_id":"ord_$","payment_id":"pay_$","amount":{"amount":129000,"currency":"KRW"}}"#;
    check::<PaymentHeld>(moved);
    check::<PaymentCaptured>(moved);
    check::<PaymentDeclined>(r#"{"order_id":"ord_$","code":"insufficient_funds"}"#);
    check::<PaymentCaptureRefused>(r#"{"order_id":"ord_$","code":"hold_expired"}"#);
    check::<PaymentRefunded>(r#"{"order_id":"ord_$","amount":{"amount":129000,"currency":"KRW"}}"#);
}

#[test]
fn messages_of_orders_keep_parsing() {
    let order = r#"{"order_id":"ord_$","user_id":"usr_$","lines":[{"product_id":"prd_$","sku":"TEA-1","name":"녹차","category":"tea","quantity":2,"unit_price":{"amount":9000,"currency":"KRW"}}],"total":{"amount":18000,"currency":"KRW"},"placed_at":"2026-03-01T09:00:00.000Z"}"#;
    check::<OrderPlaced>(&format!(r#"{{"order":{order}}}"#));
    check::<OrderConfirmed>(&format!(r#"{{"order":{order}}}"#));
    check::<OrderRejected>(&format!(r#"{{"order":{order},"reason":"out_of_stock","detail":"TEA-1"}}"#));
    check::<OrderCancelled>(&format!(r#"{{"order":{order},"reason":"by_customer","was_confirmed":true}}"#));
    check::<OrderFulfilled>(r#"{"order_id":"ord_$","user_id":"usr_$"}"#);
}

#[test]
fn messages_of_the_catalogue_keep_parsing() {
    let product = r#"{"product_id":"prd_$","sku":"TEA-1","name":"녹차","category":"tea","price":{"amount":9000,"currency":"KRW"},"status":"active","version":1}"#;
    check::<ProductCreated>(&format!(r#"{{"product":{product}}}"#));
    check::<ProductUpdated>(&format!(r#"{{"product":{product}}}"#));
    check::<ProductArchived>(&format!(r#"{{"product":{product}}}"#));
    check::<PriceChanged>(
        r#"{"product_id":"prd_$","sku":"TEA-1","old":{"amount":9000,"currency":"KRW"},"new":{"amount":8500,"currency":"KRW"},"version":2}"#,
    );
    check::<ProductsVisited>(
        r#"{"second":"2026-03-01T09:00:00.000Z","visits":[{"product_id":"prd_$","views":3,"cart_additions":1}]}"#,
    );
}

#[test]
fn messages_of_users_keep_parsing() {
    check::<UserRegistered>(
        r#"{"user_id":"usr_$","role":"customer","email":"k1.AA","name":"k1.BB","locale":"ko"}"#,
    );
    check::<VerificationRequested>(
        r#"{"user_id":"usr_$","email":"k1.AA","code":"k1.CC","expires_at":"2026-03-01T09:03:00.000Z","locale":"ko"}"#,
    );
    check::<EmailVerified>(r#"{"user_id":"usr_$"}"#);
    check::<RoleChanged>(
        r#"{"user_id":"usr_$","old":"customer","new":"seller","tokens_valid_from":"2026-03-01T09:00:00.000Z"}"#,
    );
    check::<SessionRevoked>(r#"{"user_id":"usr_$","session_id":"ses_$","reason":"signed_out"}"#);
}

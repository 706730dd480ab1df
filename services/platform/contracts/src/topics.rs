//! The topics of the platform. The key of every message is its aggregate's id.

/// One topic: its name, how many partitions it has, and how long its messages are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Topic {
    pub name: &'static str,
    pub partitions: u32,
    pub retention_days: u32,
}

const fn topic(name: &'static str, partitions: u32) -> Topic {
    Topic { name, partitions, retention_days: 7 }
}

pub const USERS: Topic = topic("rtc.users", 4);
pub const CATALOG: Topic = topic("rtc.catalog", 4);
pub const CATALOG_VISITS: Topic = topic("rtc.catalog.visits", 4);
pub const INVENTORY: Topic = topic("rtc.inventory", 4);
pub const INVENTORY_COMMANDS: Topic = topic("rtc.inventory.commands", 4);
pub const ORDERS: Topic = topic("rtc.orders", 4);
pub const PAYMENTS: Topic = topic("rtc.payments", 4);
pub const PAYMENTS_COMMANDS: Topic = topic("rtc.payments.commands", 4);

pub const ALL: [Topic; 8] =
    [USERS, CATALOG, CATALOG_VISITS, INVENTORY, INVENTORY_COMMANDS, ORDERS, PAYMENTS, PAYMENTS_COMMANDS];

pub fn by_name(name: &str) -> Option<Topic> {
    ALL.into_iter().find(|topic| topic.name == name)
}

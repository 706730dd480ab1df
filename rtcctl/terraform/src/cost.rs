//! What a month of a plan costs, from a dated table of on-demand prices.
//!
//! Invariants: sums are of whole millionths of a dollar, so that they can be checked by hand; a price that is not in the
//! table is said and never guessed; what is left out is listed.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use crate::bill::{Billed, Bus, Inventory, Item};

const TABLE: &str = include_str!("../prices.toml");

/// A price that is the same everywhere.
const EVERYWHERE: &str = "*";

/// Kinds whose bill depends on how much they are used, and what of them.
const BY_USE: &[(&str, &str)] = &[
    ("aws_apigatewayv2_api", "requests"),
    ("aws_cloudwatch_log_group", "logs written and kept"),
    ("aws_ecr_repository", "images kept"),
    ("aws_efs_file_system", "files kept and moved"),
    ("aws_eks_node_group", "nodes beyond the wished-for number"),
    ("aws_flow_log", "records written"),
    ("aws_lb", "capacity units"),
    ("aws_nat_gateway", "traffic through it"),
    ("aws_s3_bucket", "objects kept, requests"),
    ("aws_sesv2_email_identity", "mail sent"),
    ("aws_sns_topic", "messages"),
    ("aws_sqs_queue", "requests"),
    ("aws_wafv2_web_acl", "requests looked at"),
];

/// Kinds, and beginnings of kinds, that cost nothing by themselves.
const FREE: &[&str] = &[
    "aws_acm_",
    "aws_apigatewayv2_",
    "aws_appautoscaling_",
    "aws_autoscaling_group_tag",
    "aws_budgets_",
    "aws_cloudwatch_log_resource_policy",
    "aws_db_event_subscription",
    "aws_db_parameter_group",
    "aws_db_subnet_group",
    "aws_default_",
    "aws_ecr_lifecycle_policy",
    "aws_efs_",
    "aws_ec2_subnet_cidr_reservation",
    "aws_eip_association",
    "aws_eks_",
    "aws_elasticache_parameter_group",
    "aws_elasticache_subnet_group",
    "aws_iam_",
    "aws_internet_gateway",
    "aws_kms_alias",
    "aws_launch_template",
    "aws_lb_",
    "aws_msk_configuration",
    "aws_msk_scram_secret_association",
    "aws_route",
    "aws_s3_bucket_",
    "aws_secretsmanager_secret_",
    "aws_security_group",
    "aws_sesv2_",
    "aws_sns_topic_",
    "aws_sqs_queue_",
    "aws_ssm_document",
    "aws_subnet",
    "aws_volume_attachment",
    "aws_vpc",
    "aws_wafv2_",
    "terraform_data",
];

/// A millionth of a dollar.
pub type Micros = i64;

/// What a price is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    Hour,
    Month,
    GibMonth,
}

/// A line of the table.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Price {
    pub region: String,
    pub item: String,
    pub unit: Unit,
    pub usd: f64,
    /// The day on which it was looked at.
    pub date: String,
    pub source: String,
    /// Nobody has compared it with what AWS says.
    #[serde(default)]
    pub unverified: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Counterpart {
    ec2: String,
    msk: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    hours_per_month: i64,
    counterpart: Vec<Counterpart>,
    price: Vec<Price>,
}

/// The table of prices.
pub struct Prices {
    hours_per_month: i64,
    counterparts: Vec<Counterpart>,
    lines: BTreeMap<(String, String), Price>,
}

/// A resource that costs something, before or after.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    pub address: String,
    pub kind: String,
    pub before: Micros,
    pub after: Micros,
    pub notes: Vec<String>,
    /// Prices that nobody has compared with AWS's.
    pub unverified: Vec<String>,
}

impl Line {
    pub fn change(&self) -> Micros {
        self.after - self.before
    }
}

/// Something that is in no sum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    pub what: String,
    pub count: usize,
    pub why: String,
}

/// One way to run the event bus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backend {
    pub name: &'static str,
    pub is_planned: bool,
    pub bus: Bus,
    /// Nothing where a price is missing.
    pub monthly: Option<Micros>,
    pub unverified: Vec<String>,
}

/// A month of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Estimate {
    pub region: String,
    /// Whether the plan names its region, or the table's first one was taken.
    pub is_region_known: bool,
    pub lines: Vec<Line>,
    pub before: Micros,
    pub after: Micros,
    pub left_out: Vec<LeftOut>,
    pub backends: Vec<Backend>,
    /// The oldest and the newest day of a price that was used.
    pub dates: Option<(String, String)>,
}

impl Prices {
    /// Those of the repository.
    ///
    /// # Errors
    /// The table does not say what it means.
    pub fn of_the_repository() -> Result<Self, String> {
        Self::parse(TABLE)
    }

    fn parse(text: &str) -> Result<Self, String> {
        let file: File = toml::from_str(text).map_err(|error| error.to_string())?;
        let mut lines = BTreeMap::new();
        for price in file.price {
            let key = (price.region.clone(), price.item.clone());
            if lines.insert(key, price).is_some() {
                return Err("a price is said twice".to_owned());
            }
        }
        Ok(Self { hours_per_month: file.hours_per_month, counterparts: file.counterpart, lines })
    }

    pub fn regions(&self) -> BTreeSet<&str> {
        self.lines.keys().map(|(region, _)| region.as_str()).filter(|region| *region != EVERYWHERE).collect()
    }

    /// The price of an item where it is, or of everywhere.
    pub fn find(&self, region: &str, item: &str) -> Option<&Price> {
        let at = |region: &str| self.lines.get(&(region.to_owned(), item.to_owned()));
        at(region).or_else(|| at(EVERYWHERE))
    }

    /// A month of so much of it.
    fn monthly(&self, price: &Price, quantity: u64) -> Micros {
        #[expect(clippy::cast_possible_truncation, reason = "prices are below a million dollars")]
        let micros = (price.usd * 1e6).round() as Micros;
        let hours = if price.unit == Unit::Hour { self.hours_per_month } else { 1 };
        micros * hours * Micros::try_from(quantity).unwrap_or(Micros::MAX)
    }
}

/// Adds up items, and says what could not be.
struct Sum<'a> {
    prices: &'a Prices,
    region: &'a str,
    missing: BTreeMap<String, usize>,
    dates: BTreeSet<&'a str>,
}

impl<'a> Sum<'a> {
    fn of(&mut self, items: &[Item], unverified: &mut Vec<String>) -> Option<Micros> {
        let mut sum = Some(0);
        for item in items {
            match self.prices.find(self.region, &item.price) {
                Some(price) => {
                    self.dates.insert(&price.date);
                    if price.unverified && !unverified.contains(&item.price) {
                        unverified.push(item.price.clone());
                    }
                    sum = sum.map(|sum| sum + self.prices.monthly(price, item.quantity));
                }
                None => {
                    *self.missing.entry(item.price.clone()).or_default() += 1;
                    sum = None;
                }
            }
        }
        sum
    }

    /// What is known of it, where not all is.
    fn known(&mut self, billed: Option<&Billed>, unverified: &mut Vec<String>) -> Micros {
        let items = billed.map_or(&[] as &[Item], |billed| &billed.items);
        items.iter().map(|item| self.of(std::slice::from_ref(item), unverified).unwrap_or(0)).sum()
    }
}

/// A month before and after a plan.
pub fn estimate(inventory: &Inventory, prices: &Prices, fallback_region: &str) -> Estimate {
    let region = inventory.region.clone().unwrap_or_else(|| fallback_region.to_owned());
    let mut sum = Sum { prices, region: &region, missing: BTreeMap::new(), dates: BTreeSet::new() };
    let mut lines = Vec::new();
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    for holding in &inventory.holdings {
        *kinds.entry(&holding.kind).or_default() += 1;
        let mut unverified = Vec::new();
        let before = sum.known(holding.before.as_ref(), &mut unverified);
        let after = sum.known(holding.after.as_ref(), &mut unverified);
        let last = holding.after.as_ref().or(holding.before.as_ref());
        let notes = last.map(|billed| billed.notes.clone()).unwrap_or_default();
        if last.is_some_and(|billed| !billed.items.is_empty() || !billed.notes.is_empty()) {
            let (address, kind) = (holding.address.clone(), holding.kind.clone());
            lines.push(Line { address, kind, before, after, notes, unverified });
        }
    }
    let backends = backends(inventory, &mut sum);
    let mut left_out = left_out(&kinds, &lines);
    left_out.extend(sum.missing.iter().map(|(item, count)| LeftOut {
        what: item.clone(),
        count: *count,
        why: format!("no price of it in {region} is in the table"),
    }));
    let dates = sum.dates.first().zip(sum.dates.last());
    let dates = dates.map(|(first, last)| ((*first).to_owned(), (*last).to_owned()));
    Estimate {
        is_region_known: inventory.region.is_some(),
        before: lines.iter().map(|line| line.before).sum(),
        after: lines.iter().map(|line| line.after).sum(),
        lines,
        left_out,
        backends,
        dates,
        region,
    }
}

fn left_out(kinds: &BTreeMap<&str, usize>, lines: &[Line]) -> Vec<LeftOut> {
    let mut left_out = Vec::new();
    for (kind, count) in kinds {
        let is_priced = lines.iter().any(|line| line.kind == *kind);
        if let Some((_, use_)) = BY_USE.iter().find(|(by_use, _)| by_use == kind) {
            left_out.push(LeftOut {
                what: (*kind).to_owned(),
                count: *count,
                why: format!("by use: {use_}"),
            });
        } else if !is_priced && !FREE.iter().any(|free| kind.starts_with(free)) && !is_billed(kind) {
            let why = "this kind of resource is not in the table".to_owned();
            left_out.push(LeftOut { what: (*kind).to_owned(), count: *count, why });
        }
    }
    if !lines.is_empty() {
        let why = "by use: out of AWS, between zones, through endpoints".to_owned();
        left_out.push(LeftOut { what: "traffic".to_owned(), count: 1, why });
    }
    left_out
}

/// Kinds that are billed and may have nothing to bill, such as an endpoint of the gateway kind.
fn is_billed(kind: &str) -> bool {
    matches!(kind, "aws_vpc_endpoint" | "aws_opensearch_domain")
}

/// The bus of the plan and what the other kind would cost, with as many brokers and as much disk.
fn backends(inventory: &Inventory, sum: &mut Sum<'_>) -> Vec<Backend> {
    let Some(planned) = inventory.bus() else { return Vec::new() };
    let pair = sum.prices.counterparts.iter().find(|pair| {
        let machine = if planned.is_managed { &pair.msk } else { &pair.ec2 };
        *machine == planned.machine
    });
    let other = pair.map(|pair| Bus {
        is_managed: !planned.is_managed,
        machine: if planned.is_managed { pair.ec2.clone() } else { pair.msk.clone() },
        root_gib: if planned.is_managed { ROOT_GIB } else { 0 },
        ..planned.clone()
    });
    let mut both: Vec<Backend> = std::iter::once((planned, true))
        .chain(other.map(|other| (other, false)))
        .map(|(bus, is_planned)| {
            let mut unverified = Vec::new();
            let monthly = sum.of(&items(&bus), &mut unverified);
            let name = if bus.is_managed { "MSK" } else { "Kafka on EC2" };
            Backend { name, is_planned, bus, monthly, unverified }
        })
        .collect();
    both.sort_by_key(|backend| !backend.bus.is_managed);
    both
}

/// The root disk of a broker's machine (terraform/modules/events).
const ROOT_GIB: u64 = 16;

/// What a bus consists of. Its machines' monitoring is beside the question.
fn items(bus: &Bus) -> Vec<Item> {
    let item = |price: String, quantity| Item { price, quantity };
    match bus.is_managed {
        true => vec![
            item(format!("msk/{}", bus.machine), bus.brokers),
            item("msk/storage".to_owned(), bus.brokers * bus.disk_gib),
        ],
        false => vec![
            item(format!("ec2/{}", bus.machine), bus.brokers),
            item("ebs/gp3".to_owned(), bus.brokers * (bus.disk_gib + bus.root_gib)),
        ],
    }
}

#[cfg(test)]
mod tests;

//! What of a plan is billed by the month, whoever uses it or not: machines, disks, addresses, keys.
//!
//! Invariants: only types, sizes and counts are read from a resource, never a value that may be secret; what cannot be
//! counted is noted, not guessed.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;

/// The metrics that detailed monitoring of a machine sends.
const METRICS_OF_A_MACHINE: u64 = 7;

/// So much of something that the table of prices knows by this name, for example `ec2/t3.large` or `ebs/gp3`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    pub price: String,
    pub quantity: u64,
}

/// One side of a resource: what it costs by the month, and what is not in that.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Billed {
    pub items: Vec<Item>,
    pub notes: Vec<String>,
}

/// A resource before and after; nothing where it does not exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holding {
    pub address: String,
    pub kind: String,
    pub before: Option<Billed>,
    pub after: Option<Billed>,
}

/// Everything that a plan holds, what it does not change included.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Inventory {
    /// Where the plan says it.
    pub region: Option<String>,
    pub holdings: Vec<Holding>,
}

/// A resource of the plan as Terraform writes it.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    pub address: &'a str,
    pub kind: &'a str,
    pub before: &'a Json,
    pub after: &'a Json,
}

/// What a resource alone does not say.
struct Around<'a> {
    zones: u64,
    /// How many zones an endpoint reaches, where that is known only once it exists.
    endpoint_zones: Option<u64>,
    seen: &'a [Seen<'a>],
}

/// Takes stock. `configuration` and `variables` are those parts of the plan.
pub fn take(seen: &[Seen<'_>], configuration: &Json, variables: &Json) -> Inventory {
    let mut zones = BTreeSet::new();
    for one in seen.iter().filter(|one| one.kind == "aws_subnet") {
        zones.extend(text(one.after, "availability_zone").or_else(|| text(one.before, "availability_zone")));
    }
    let zones = u64::try_from(zones.len()).unwrap_or(0);
    let around = Around { zones, endpoint_zones: endpoint_zones(configuration, zones), seen };
    let side = |one: &Seen<'_>, values: &Json, is_after: bool| {
        values.is_object().then(|| billed(one, values, is_after, &around))
    };
    let holdings = seen.iter().map(|one| Holding {
        address: one.address.to_owned(),
        kind: one.kind.to_owned(),
        before: side(one, one.before, false),
        after: side(one, one.after, true),
    });
    Inventory { region: region(configuration, variables), holdings: holdings.collect() }
}

/// The region of the AWS provider: a word, or a variable.
fn region(configuration: &Json, variables: &Json) -> Option<String> {
    let said = &configuration["provider_config"]["aws"]["expressions"]["region"];
    if let Some(word) = said["constant_value"].as_str() {
        return Some(word.to_owned());
    }
    let name = said["references"][0].as_str()?.strip_prefix("var.")?;
    variables[name]["value"].as_str().map(str::to_owned)
}

/// `interface_endpoint_zones` of the environment's `network`: all zones, or one.
fn endpoint_zones(configuration: &Json, zones: u64) -> Option<u64> {
    let calls = configuration["root_module"]["module_calls"].as_object()?;
    let said = calls.values().find_map(|call| {
        call["expressions"]["network"]["constant_value"]["interface_endpoint_zones"].as_str()
    })?;
    Some(if said == "all" { zones } else { 1 })
}

fn text<'a>(values: &'a Json, name: &str) -> Option<&'a str> {
    values[name].as_str().filter(|text| !text.is_empty())
}

/// A number, which Terraform now and then writes as text.
fn number(values: &Json, name: &str) -> Option<u64> {
    values[name].as_u64().or_else(|| values[name].as_str()?.parse().ok())
}

fn is_on(values: &Json, name: &str) -> bool {
    values[name] == Json::Bool(true) || values[name] == "true"
}

/// Nested blocks are lists; of most there is one.
fn block<'a>(values: &'a Json, name: &str) -> &'a Json {
    &values[name][0]
}

impl Billed {
    fn add(&mut self, price: impl Into<String>, quantity: u64) {
        if quantity > 0 {
            self.items.push(Item { price: price.into(), quantity });
        }
    }

    /// Adds what a word of the resource names; without it, says so.
    fn add_named(&mut self, family: &str, word: Option<&str>, quantity: Option<u64>) {
        match (word, quantity) {
            (Some(word), Some(quantity)) => self.add(format!("{family}/{word}"), quantity),
            (None, _) => self.note(format!("{family}: which one is not known before it exists")),
            (_, None) => self.note(format!("{family}: how much is not known before it exists")),
        }
    }

    fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }
}

fn billed(one: &Seen<'_>, values: &Json, is_after: bool, around: &Around<'_>) -> Billed {
    let mut billed = Billed::default();
    match one.kind {
        "aws_instance" => machine(values, &mut billed),
        "aws_ebs_volume" => billed.add_named("ebs", text(values, "type"), number(values, "size")),
        "aws_nat_gateway" => billed.add("nat/gateway", 1),
        "aws_eip" => billed.add("ipv4/public", 1),
        "aws_lb" => load_balancer(values, around, &mut billed),
        "aws_vpc_endpoint" => endpoint(values, around, &mut billed),
        "aws_eks_cluster" => billed.add("eks/cluster", 1),
        "aws_eks_node_group" => nodes(one, values, is_after, around, &mut billed),
        "aws_db_instance" => database(values, is_after, around, &mut billed),
        "aws_elasticache_replication_group" => {
            let nodes = number(values, "num_cache_clusters");
            billed.add_named("elasticache/redis", text(values, "node_type"), nodes);
        }
        "aws_msk_cluster" => brokers(values, &mut billed),
        "aws_opensearch_domain" => search(values, &mut billed),
        "aws_kms_key" => billed.add("kms/key", 1),
        "aws_secretsmanager_secret" => billed.add("secretsmanager/secret", 1),
        "aws_route53_zone" => billed.add("route53/zone", 1),
        "aws_wafv2_web_acl" => {
            billed.add("waf/acl", 1);
            billed.add("waf/rule", length(&values["rule"]));
        }
        "aws_cloudwatch_dashboard" => billed.add("cloudwatch/dashboard", 1),
        "aws_cloudwatch_metric_alarm" => {
            let metrics = values["metric_query"]
                .as_array()
                .map_or(0, |queries| queries.iter().filter(|query| length(&query["metric"]) > 0).count());
            billed.add("cloudwatch/alarm", u64::try_from(metrics).unwrap_or(0).max(1));
        }
        _ => {}
    }
    billed
}

fn length(list: &Json) -> u64 {
    list.as_array().map_or(0, |list| u64::try_from(list.len()).unwrap_or(0))
}

fn machine(values: &Json, billed: &mut Billed) {
    billed.add_named("ec2", text(values, "instance_type"), Some(1));
    let root = block(values, "root_block_device");
    if root.is_object() {
        billed.add_named("ebs", text(root, "volume_type"), number(root, "volume_size"));
    } else {
        billed.note("ebs: the root disk is the image's, and its size is not in the plan");
    }
    if is_on(values, "monitoring") {
        billed.add("cloudwatch/metric", METRICS_OF_A_MACHINE);
    }
}

fn load_balancer(values: &Json, around: &Around<'_>, billed: &mut Billed) {
    match text(values, "load_balancer_type").unwrap_or("application") {
        "application" => billed.add("elb/application", 1),
        other => billed.add(format!("elb/{other}"), 1),
    }
    if !is_on(values, "internal") {
        // An address in each subnet, and a subnet in each zone.
        let subnets = length(&values["subnets"]);
        billed.add("ipv4/public", if subnets > 0 { subnets } else { around.zones });
    }
}

fn endpoint(values: &Json, around: &Around<'_>, billed: &mut Billed) {
    if text(values, "vpc_endpoint_type") != Some("Interface") {
        return;
    }
    let subnets = length(&values["subnet_ids"]);
    match (subnets, around.endpoint_zones) {
        (0, None) => {
            billed.add("vpce/interface", 1);
            billed.note("vpce: in how many zones is not known before it exists; counted in one");
        }
        (0, Some(zones)) => billed.add("vpce/interface", zones),
        (subnets, _) => billed.add("vpce/interface", subnets),
    }
}

/// Where a resource stands: its module, and its key within.
fn place(address: &str) -> (&str, &str) {
    let bare = address.split_once('[').map_or(address, |(before, _)| before);
    let key = if address.ends_with(']') { address.rfind('[').map_or("", |at| &address[at..]) } else { "" };
    // A key may have dots in it, and so may that of a module.
    let module = match address.rfind(".aws_") {
        Some(at) => &address[..at],
        None => bare.rsplit_once('.').map_or("", |(module, _)| module),
    };
    (module, key)
}

fn nodes(one: &Seen<'_>, values: &Json, is_after: bool, around: &Around<'_>, billed: &mut Billed) {
    let Some(count) = number(block(values, "scaling_config"), "desired_size") else {
        return billed.note("ec2: how many nodes is not known before they exist");
    };
    let types = values["instance_types"].as_array().map_or(&[] as &[Json], Vec::as_slice);
    billed.add_named("ec2", types.first().and_then(Json::as_str), Some(count));
    if types.len() > 1 {
        billed.note("ec2: nodes may be of several types; counted as the first");
    }
    if text(values, "capacity_type") == Some("SPOT") {
        billed.note("ec2: spot nodes counted at the on-demand price, which they stay below");
    }
    // A node's disk is in the launch template of the same module and key.
    let template = around
        .seen
        .iter()
        .find(|seen| seen.kind == "aws_launch_template" && place(seen.address) == place(one.address));
    let values_of = |seen: &Seen<'_>| {
        if is_after && seen.after.is_object() { seen.after.clone() } else { seen.before.clone() }
    };
    let template = template.map(values_of).unwrap_or_default();
    let disk = block(block(&template, "block_device_mappings"), "ebs");
    let size = number(disk, "volume_size").or_else(|| number(values, "disk_size"));
    match size {
        Some(size) => billed.add_named("ebs", text(disk, "volume_type").or(Some("gp3")), Some(size * count)),
        None => billed.note("ebs: how large the nodes' disks are is not in the plan"),
    }
    if is_on(block(&template, "monitoring"), "enabled") {
        billed.add("cloudwatch/metric", METRICS_OF_A_MACHINE * count);
    }
}

fn database(values: &Json, is_after: bool, around: &Around<'_>, billed: &mut Billed) {
    // The standby is a second machine with a second disk.
    let copies = if is_on(values, "multi_az") { 2 } else { 1 };
    let source = text(values, "replicate_source_db");
    let primary = source.and_then(|source| {
        let databases = around.seen.iter().filter(|seen| seen.kind == "aws_db_instance");
        let sides = databases.map(|seen| if is_after { seen.after } else { seen.before });
        sides.into_iter().find(|side| text(side, "identifier") == Some(source))
    });
    let engine = text(values, "engine").or_else(|| text(primary?, "engine")).unwrap_or("mysql");
    billed.add_named(&format!("rds/{engine}"), text(values, "instance_class"), Some(copies));
    // A replica's disk is as large as its source's.
    let size = number(values, "allocated_storage").filter(|size| *size > 0);
    let size = size.or_else(|| number(primary?, "allocated_storage"));
    let storage = text(values, "storage_type");
    billed.add_named("rds/storage", storage, size.map(|size| size * copies));
    if is_on(values, "manage_master_user_password") {
        billed.add("secretsmanager/secret", 1);
    }
}

fn brokers(values: &Json, billed: &mut Billed) {
    let group = block(values, "broker_node_group_info");
    let count = number(values, "number_of_broker_nodes");
    billed.add_named("msk", text(group, "instance_type"), count);
    let disk = block(block(block(values, "broker_node_group_info"), "storage_info"), "ebs_storage_info");
    let size = number(disk, "volume_size").zip(count).map(|(size, count)| size * count);
    billed.add_named("msk", Some("storage"), size);
}

fn search(values: &Json, billed: &mut Billed) {
    let cluster = block(values, "cluster_config");
    let count = number(cluster, "instance_count");
    billed.add_named("opensearch", text(cluster, "instance_type"), count);
    if is_on(cluster, "dedicated_master_enabled") {
        let masters = number(cluster, "dedicated_master_count");
        billed.add_named("opensearch", text(cluster, "dedicated_master_type"), masters);
    }
    let disk = block(values, "ebs_options");
    if is_on(disk, "ebs_enabled") {
        let size = number(disk, "volume_size").zip(count).map(|(size, count)| size * count);
        billed.add_named("opensearch/storage", text(disk, "volume_type"), size);
    }
}

/// Machines of the event bus, as one plan has them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bus {
    pub is_managed: bool,
    /// Of a machine or a broker, for example `t3.medium` or `kafka.t3.small`.
    pub machine: String,
    pub brokers: u64,
    /// Of each broker's data, in GiB.
    pub disk_gib: u64,
    /// Of each machine's root, in GiB; a managed broker has none.
    pub root_gib: u64,
}

impl Inventory {
    /// The event bus after the plan: managed, or machines called `broker` in a module `events`.
    pub fn bus(&self) -> Option<Bus> {
        let after = |kind: &str, name: &str| -> Vec<&Billed> {
            let named = self.holdings.iter().filter(|one| one.kind == kind && one.address.contains(name));
            named.filter_map(|one| one.after.as_ref()).collect()
        };
        let quantities = |sides: &[&Billed], family: &str| -> BTreeMap<String, u64> {
            let mut all = BTreeMap::new();
            for item in sides.iter().flat_map(|side| &side.items) {
                if let Some(word) = item.price.strip_prefix(family) {
                    *all.entry(word.to_owned()).or_default() += item.quantity;
                }
            }
            all
        };
        let managed = quantities(&after("aws_msk_cluster", ""), "msk/");
        if let Some((machine, brokers)) = managed.iter().find(|(word, _)| *word != "storage") {
            let disk = managed.get("storage").copied().unwrap_or(0);
            let disk_gib = disk.checked_div(*brokers).unwrap_or(0);
            let machine = machine.clone();
            return Some(Bus { is_managed: true, machine, brokers: *brokers, disk_gib, root_gib: 0 });
        }
        let machines = after("aws_instance", "events.aws_instance.broker");
        let (machine, brokers) = quantities(&machines, "ec2/").into_iter().next()?;
        let share = |gib: BTreeMap<String, u64>| gib.values().sum::<u64>().checked_div(brokers).unwrap_or(0);
        let disk_gib = share(quantities(&after("aws_ebs_volume", "events.aws_ebs_volume.broker"), "ebs/"));
        let root_gib = share(quantities(&machines, "ebs/"));
        Some(Bus { is_managed: false, machine, brokers, disk_gib, root_gib })
    }
}

#[cfg(test)]
mod tests;

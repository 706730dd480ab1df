//! What cannot be meant, all of it at once.

use super::engine::is_cidr;
use super::release::{ENTRY, EVERYBODY, KEYS, known_secrets, runs};
use super::{
    Address, Certificate, Cpu, Description, Entry, Memory, Release, Resources, Scaling, Target,
    image::NotPinned,
};

/// Why a description is refused. The texts name the key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("{what}: {why}")]
    Image { what: String, why: NotPinned },
    #[error("{what}: {name:?} is no name: lower-case letters, digits and dashes, at most {max}")]
    Name { what: String, name: String, max: usize },
    #[error("targets.{name}: the house has something else of that name")]
    ReservedName { name: String },
    #[error("labels: {key:?} = {value:?} is no label that may be given")]
    Label { key: String, value: String },
    #[error("targets: there is none")]
    NoTargets,
    #[error("targets: {service} is run by {first} and by {second}: who calls it would not know whom to ask")]
    RunTwice { service: String, first: String, second: String },
    #[error("targets.{target}.needs.upstreams: nobody runs {service}")]
    NobodyRuns { target: String, service: String },
    #[error("targets.{target}.needs.upstreams: {service} runs in the target itself")]
    OwnUpstream { target: String, service: String },
    #[error("targets.{target}: it checks tokens, so it needs the keys of users among its upstreams")]
    NoKeys { target: String },
    #[error("targets.{target}: {service} keeps data and sends messages, so it needs database and bus")]
    KeepsNothing { target: String, service: String },
    #[error("targets.{target}.needs.{engine}: engines.{engine} is embedded, and a pod keeps nothing")]
    Embedded { target: String, engine: &'static str },
    #[error("engines.{engine}: this is no address of one, or a password is in it")]
    Engine { engine: &'static str },
    #[error("networks.engines: somebody needs an engine, and nothing says where they are")]
    NoEngineNetwork,
    #[error("{what}: {cidr:?} is no address range")]
    Cidr { what: String, cidr: String },
    #[error("targets.{target}: either replicas or scaling, not both and not neither")]
    ReplicasOrScaling { target: String },
    #[error("targets.{target}.replicas: 0 serves nobody")]
    NoReplicas { target: String },
    #[error("targets.{target}.scaling: min {min} and max {max} leave nothing to choose from")]
    ScalingRange { target: String, min: u32, max: u32 },
    #[error("targets.{target}.scaling: there is nothing to measure (cpu_percent, memory_percent, lag)")]
    NothingMeasured { target: String },
    #[error("targets.{target}.scaling.{key}: {value} is out of range")]
    Measure { target: String, key: &'static str, value: u32 },
    #[error("{what}: {text:?} is no amount")]
    Amount { what: String, text: String },
    #[error("{what}.cpu_limit: it is below what is promised")]
    LimitBelowRequest { what: String },
    #[error("secrets: {name} is needed by {target}, and nothing says where it is")]
    UnknownSecret { target: String, name: String },
    #[error("secrets: {name:?} is no name of one")]
    SecretName { name: String },
    #[error("secrets.name: {name:?} is no name of a Secret, also with a target's name in it")]
    SecretObject { name: String },
    #[error("{what}: {text:?} is no ARN")]
    Arn { what: String, text: String },
    #[error("targets.{target}.needs.files: there is no [files]")]
    NoFiles { target: String },
    #[error("targets.{target}.needs.files: {path:?} is no folder that may be put there")]
    FilesPath { target: String, path: String },
    #[error("files.file_system_id: {id:?} is none of EFS")]
    FileSystem { id: String },
    #[error("entry.target: there is no target {target}")]
    EntryTarget { target: String },
    #[error("entry.hosts: there is none")]
    NoHosts,
    #[error("entry.hosts: {host:?} is no name of a host")]
    Host { host: String },
    #[error("networks.load_balancer: traffic comes in from outside, and nothing says from where")]
    NoLoadBalancerNetwork,
    #[error("canary.targets: there is no target {target}")]
    CanaryTarget { target: String },
    #[error("canary.targets: there is none")]
    CanaryOfNothing,
    #[error("canary.weight: {weight} is not between 1 and 99")]
    CanaryWeight { weight: u32 },
    #[error("canary.replicas: 0 shows nothing")]
    CanaryReplicas,
    #[error("canary.image: it is the one that runs already")]
    CanaryOfTheSame,
    #[error("drain: {seconds} s until a pod is gone; more than an hour is none")]
    Drain { seconds: u32 },
    #[error("{place}: {key} is the deployment's own to say")]
    OwnSetting { place: String, key: String },
    #[error("mesh.attempts: {attempts} is not between 0 and 5")]
    Attempts { attempts: u32 },
    #[error("monitoring.rules.{file}: {reason}")]
    Rules { file: String, reason: String },
    #[error("logs: they go nowhere (cloudwatch_group, opensearch_host)")]
    LogsNowhere,
}

/// Taken by objects of the house.
const RESERVED: [&str; 4] = ["default", "dns", "fluent-bit", "migrate"];
/// How the names of second versions end.
const BESIDE: [&str; 2] = ["-canary", "-green"];
/// What rtcd is told by the deployment, which knows better.
const OWN_SETTINGS: [&str; 15] = [
    "profile",
    "data",
    "database",
    "databases",
    "bus",
    "cache",
    "objects",
    "credentials",
    "secrets",
    "upstreams",
    "server.api_bind",
    "server.admin_bind",
    "server.drain_notice_ms",
    "server.drain_timeout_ms",
    "log.format",
];
/// Names of targets become parts of others: `orders-canary-…`.
const TARGET_NAME_MAX: usize = 40;
const LABEL_MAX: usize = 63;
const HOUR_S: u32 = 3600;

pub(super) fn faults(description: &Description) -> Vec<Fault> {
    let mut faults = Vec::new();
    names(description, &mut faults);
    engines(description, &mut faults);
    networks(description, &mut faults);
    secrets(description, &mut faults);
    own_settings("settings", &description.settings, &mut faults);
    resources("migration.resources", &description.migration.resources, &mut faults);
    if description.drain.grace_s() > HOUR_S {
        faults.push(Fault::Drain { seconds: description.drain.grace_s() });
    }
    for (name, target) in &description.targets {
        self::target(description, name, target, &mut faults);
    }
    entry(description, &mut faults);
    canary(description, &mut faults);
    if let Some(mesh) = description.mesh.as_ref().filter(|mesh| mesh.attempts > 5) {
        faults.push(Fault::Attempts { attempts: mesh.attempts });
    }
    if let Some(files) = &description.files {
        let id = files.file_system_id.strip_prefix("fs-").unwrap_or_default();
        if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            faults.push(Fault::FileSystem { id: files.file_system_id.clone() });
        }
        amount("files.size", &files.size, Memory::parse(&files.size).is_some(), &mut faults);
    }
    if let Some(monitoring) = &description.monitoring {
        name("monitoring.namespace", &monitoring.namespace, LABEL_MAX, &mut faults);
    }
    if description
        .logs
        .as_ref()
        .is_some_and(|logs| logs.cloudwatch_group.is_none() && logs.opensearch_host.is_none())
    {
        faults.push(Fault::LogsNowhere);
    }
    faults
}

fn is_name(text: &str, max: usize) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let edge =
        |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    let bytes = text.as_bytes();
    bytes.len() <= max && bytes.iter().copied().all(inner) && edge(bytes.first()) && edge(bytes.last())
}

fn name(what: &str, text: &str, max: usize, faults: &mut Vec<Fault>) {
    if !is_name(text, max) {
        faults.push(Fault::Name { what: what.to_owned(), name: text.to_owned(), max });
    }
}

fn names(description: &Description, faults: &mut Vec<Fault>) {
    name("environment", &description.environment, 30, faults);
    name("namespace", &description.namespace, 50, faults);
    if let Some(version) = description.version.as_ref().filter(|version| !is_label_value(version)) {
        faults.push(Fault::Label { key: "app.kubernetes.io/version".to_owned(), value: version.clone() });
    }
    for (key, value) in &description.labels {
        let ours = key.starts_with("app.kubernetes.io/") || key.starts_with("rtc.io/");
        let (prefix, rest) = key.rsplit_once('/').unwrap_or(("a", key));
        let good = is_host(prefix) && is_label_value(rest) && !rest.is_empty();
        if ours || !good || !is_label_value(value) {
            faults.push(Fault::Label { key: key.clone(), value: value.clone() });
        }
    }
    if description.targets.is_empty() {
        faults.push(Fault::NoTargets);
    }
    let mut run = std::collections::BTreeMap::new();
    for (name_, target) in &description.targets {
        name(&format!("targets.{name_}"), name_, TARGET_NAME_MAX, faults);
        if RESERVED.contains(&name_.as_str()) || BESIDE.iter().any(|end| name_.ends_with(end)) {
            faults.push(Fault::ReservedName { name: name_.clone() });
        }
        for service in Release::services(name_, target) {
            if let Some(first) = run.insert(service, name_).filter(|first| *first != name_) {
                faults.push(Fault::RunTwice {
                    service: service.to_owned(),
                    first: first.clone(),
                    second: name_.clone(),
                });
            }
        }
    }
}

fn is_label_value(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let edge = |byte: Option<&u8>| byte.is_none_or(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    bytes.len() <= LABEL_MAX && bytes.iter().copied().all(inner) && edge(bytes.first()) && edge(bytes.last())
}

fn is_host(text: &str) -> bool {
    let text = text.strip_prefix("*.").unwrap_or(text);
    text.len() <= 253 && text.split('.').all(|part| is_name(part, LABEL_MAX))
}

fn engines(description: &Description, faults: &mut Vec<Fault>) {
    let engines = &description.engines;
    let urls: [(&'static str, &Option<String>, &[&str]); 4] = [
        ("database", &engines.database, &["mysql"]),
        ("bus", &engines.bus, &["kafka"]),
        ("cache", &engines.cache, &["redis", "rediss"]),
        ("objects", &engines.objects, &["s3"]),
    ];
    for (engine, url, schemes) in urls {
        let Some(url) = url else { continue };
        let address = Address::parse(url, 443);
        if !address.is_some_and(|address| schemes.contains(&address.scheme.as_str())) {
            faults.push(Fault::Engine { engine });
        }
    }
}

fn networks(description: &Description, faults: &mut Vec<Fault>) {
    let networks = &description.networks;
    let lists = [
        ("networks.engines", &networks.engines),
        ("networks.load_balancer", &networks.load_balancer),
        ("networks.resolvers", &networks.resolvers),
    ];
    for egress in networks.egress.iter().filter(|egress| !is_cidr(&egress.cidr)) {
        faults.push(Fault::Cidr { what: "networks.egress".to_owned(), cidr: egress.cidr.clone() });
    }
    for (what, list) in lists {
        for cidr in list.iter().filter(|cidr| !is_cidr(cidr)) {
            faults.push(Fault::Cidr { what: what.to_owned(), cidr: cidr.clone() });
        }
    }
    let needs = description.targets.values().map(|target| &target.needs);
    if networks.engines.is_empty() && needs.clone().any(|needs| needs.database || needs.bus || needs.cache) {
        faults.push(Fault::NoEngineNetwork);
    }
}

fn secrets(description: &Description, faults: &mut Vec<Fault>) {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let known = known_secrets(&description.secrets);
    for name in known.iter().filter(|name| name.is_empty() || !name.bytes().all(good)) {
        faults.push(Fault::SecretName { name: (*name).to_owned() });
    }
    if let super::Secrets::Existing { name, .. } = &description.secrets
        && !is_host(&name.replace("{target}", "a"))
    {
        faults.push(Fault::SecretObject { name: name.clone() });
    }
    for (target, what) in &description.targets {
        let wanted = EVERYBODY.iter().copied().chain(what.needs.secrets.iter().map(String::as_str));
        for name in wanted.filter(|name| !known.contains(name)) {
            faults.push(Fault::UnknownSecret { target: target.clone(), name: name.to_owned() });
        }
    }
    for (account, role) in &description.identity.roles {
        arn(&format!("identity.roles.{account}"), role, faults);
    }
}

fn arn(what: &str, text: &str, faults: &mut Vec<Fault>) {
    if !text.starts_with("arn:") || text.split(':').count() < 6 {
        faults.push(Fault::Arn { what: what.to_owned(), text: text.to_owned() });
    }
}

fn own_settings(place: &str, settings: &toml::Table, faults: &mut Vec<Fault>) {
    for key in OWN_SETTINGS {
        let found = match key.split_once('.') {
            None => settings.contains_key(key),
            Some((section, key)) => settings.get(section).is_some_and(|section| section.get(key).is_some()),
        };
        if found {
            faults.push(Fault::OwnSetting { place: place.to_owned(), key: key.to_owned() });
        }
    }
}

fn amount(what: &str, text: &str, good: bool, faults: &mut Vec<Fault>) {
    if !good {
        faults.push(Fault::Amount { what: what.to_owned(), text: text.to_owned() });
    }
}

fn resources(what: &str, resources: &Resources, faults: &mut Vec<Fault>) {
    let request = Cpu::parse(&resources.cpu);
    amount(&format!("{what}.cpu"), &resources.cpu, request.is_some(), faults);
    amount(&format!("{what}.memory"), &resources.memory, Memory::parse(&resources.memory).is_some(), faults);
    let Some(text) = &resources.cpu_limit else { return };
    let limit = Cpu::parse(text);
    amount(&format!("{what}.cpu_limit"), text, limit.is_some(), faults);
    if let (Some(request), Some(limit)) = (request, limit)
        && limit < request
    {
        faults.push(Fault::LimitBelowRequest { what: what.to_owned() });
    }
}

fn target(description: &Description, name: &str, target: &Target, faults: &mut Vec<Fault>) {
    let owned = || name.to_owned();
    let place = format!("targets.{name}");
    match (target.replicas, &target.scaling) {
        (Some(0), None) => faults.push(Fault::NoReplicas { target: owned() }),
        (Some(_), None) => {}
        (None, Some(scaling)) => self::scaling(name, scaling, faults),
        _ => faults.push(Fault::ReplicasOrScaling { target: owned() }),
    }
    resources(&format!("{place}.resources"), &target.resources, faults);
    own_settings(&format!("{place}.settings"), &target.settings, faults);
    let here = Release::services(name, target);
    for service in &target.needs.upstreams {
        if here.contains(&service.as_str()) {
            faults.push(Fault::OwnUpstream { target: owned(), service: service.clone() });
        } else if runs(description, service).is_none() {
            faults.push(Fault::NobodyRuns { target: owned(), service: service.clone() });
        }
    }
    if !here.contains(&KEYS) && !target.needs.upstreams.iter().any(|service| service == KEYS) {
        faults.push(Fault::NoKeys { target: owned() });
    }
    let (needs, engines) = (&target.needs, &description.engines);
    let keeps = here.iter().find(|service| **service != ENTRY);
    if let Some(service) = keeps.filter(|_| !needs.database || !needs.bus) {
        faults.push(Fault::KeepsNothing { target: owned(), service: (*service).to_owned() });
    }
    let needed = [
        ("database", needs.database, engines.database.is_none()),
        ("bus", needs.bus, engines.bus.is_none()),
        ("cache", needs.cache, engines.cache.is_none()),
        ("objects", needs.objects, engines.objects.is_none()),
    ];
    for (engine, _, _) in needed.iter().filter(|(_, needed, embedded)| *needed && *embedded) {
        faults.push(Fault::Embedded { target: owned(), engine });
    }
    for egress in needs.egress.iter().filter(|egress| !is_cidr(&egress.cidr)) {
        faults.push(Fault::Cidr { what: format!("{place}.needs.egress"), cidr: egress.cidr.clone() });
    }
    if let Some(path) = &needs.files {
        if description.files.is_none() {
            faults.push(Fault::NoFiles { target: owned() });
        }
        let taken = ["/etc", "/run", "/tmp", "/proc", "/sys", "/dev"];
        let inside = |folder: &&str| path == *folder || path.starts_with(&format!("{folder}/"));
        let plain = !path.split('/').any(|part| part == ".." || part == ".");
        let ours = path == "/var/lib/rtc" || taken.iter().any(inside);
        if !path.starts_with('/') || path.len() < 2 || !plain || ours {
            faults.push(Fault::FilesPath { target: owned(), path: path.clone() });
        }
    }
}

fn scaling(name: &str, scaling: &Scaling, faults: &mut Vec<Fault>) {
    let owned = || name.to_owned();
    if scaling.min == 0 || scaling.max <= scaling.min {
        faults.push(Fault::ScalingRange { target: owned(), min: scaling.min, max: scaling.max });
    }
    if scaling.cpu_percent.is_none() && scaling.memory_percent.is_none() && scaling.lag.is_none() {
        faults.push(Fault::NothingMeasured { target: owned() });
    }
    let lag = scaling.lag.as_ref().map(|lag| lag.per_replica);
    let measures = [
        ("cpu_percent", scaling.cpu_percent, 1..=400),
        ("memory_percent", scaling.memory_percent, 1..=100),
        ("lag.per_replica", lag, 1..=u32::MAX),
        ("scale_down_after_s", Some(scaling.scale_down_after_s), 0..=HOUR_S),
    ];
    for (key, value, range) in measures {
        if let Some(value) = value.filter(|value| !range.contains(value)) {
            faults.push(Fault::Measure { target: owned(), key, value });
        }
    }
}

fn entry(description: &Description, faults: &mut Vec<Fault>) {
    let entry = &description.entry;
    let Some(target) = entry.target() else { return };
    if !description.targets.contains_key(target) {
        faults.push(Fault::EntryTarget { target: target.to_owned() });
    }
    let pods_inside = matches!(entry, Entry::GatewayApi { pods_in: Some(_), .. });
    if !pods_inside && description.networks.load_balancer.is_empty() {
        faults.push(Fault::NoLoadBalancerNetwork);
    }
    let hosts = match entry {
        Entry::None => return,
        Entry::TargetGroup { target_group_arn, .. } => {
            return arn("entry.target_group_arn", target_group_arn, faults);
        }
        Entry::Alb { hosts, certificate_arn, .. } => {
            arn("entry.certificate_arn", certificate_arn, faults);
            hosts
        }
        Entry::GatewayApi { hosts, certificate, class, .. } => {
            match certificate {
                Certificate::Arn(text) => arn("entry.certificate.arn", text, faults),
                Certificate::Secret(secret) => name("entry.certificate.secret", secret, 253, faults),
            }
            name("entry.class", class, 253, faults);
            hosts
        }
    };
    if hosts.is_empty() {
        faults.push(Fault::NoHosts);
    }
    for host in hosts.iter().filter(|host| !is_host(host) || !host.contains('.')) {
        faults.push(Fault::Host { host: host.clone() });
    }
}

fn canary(description: &Description, faults: &mut Vec<Fault>) {
    let Some(canary) = &description.canary else { return };
    if canary.targets.is_empty() {
        faults.push(Fault::CanaryOfNothing);
    }
    for target in canary.targets.iter().filter(|target| !description.targets.contains_key(*target)) {
        faults.push(Fault::CanaryTarget { target: target.clone() });
    }
    if !(1..=99).contains(&canary.weight) {
        faults.push(Fault::CanaryWeight { weight: canary.weight });
    }
    if canary.replicas == 0 {
        faults.push(Fault::CanaryReplicas);
    }
    if canary.image == description.image {
        faults.push(Fault::CanaryOfTheSame);
    }
}

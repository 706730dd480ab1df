//! Every description that cannot be meant is refused, and says what of it.

use super::given::{OTHER_IMAGE, dev, gateway_api, prod, with_canary};
use crate::description::{Certificate, Egress, Entry, Fault, Image, Lag, Scheme, Secrets};
use crate::examples::{DEV, PROD};
use crate::{Description, Release};

fn refused(change: impl FnOnce(&mut Description)) -> Vec<String> {
    let mut description = prod();
    change(&mut description);
    let faults = Release::of(description).expect_err("it is refused");
    faults.iter().map(|fault: &Fault| fault.to_string()).collect()
}

#[track_caller]
fn only(change: impl FnOnce(&mut Description), expected: &str) {
    assert_eq!(refused(change), [expected]);
}

fn target<'a>(description: &'a mut Description, name: &str) -> &'a mut crate::description::Target {
    description.targets.get_mut(name).unwrap()
}

#[test]
fn the_examples_can_be_meant() {
    for text in [DEV, PROD] {
        Release::of(toml::from_str(text).unwrap()).unwrap();
    }
}

#[test]
fn a_description_is_the_same_after_a_way_through_json() {
    let description = prod();
    let text = serde_json::to_string(&description).unwrap();
    assert_eq!(serde_json::from_str::<Description>(&text).unwrap(), description);
}

#[test]
fn an_unknown_key_is_named() {
    let text = DEV.replace("[migration]", "").replace("[networks]", "[networks]\nengine = []");
    let error = toml::from_str::<Description>(&text).unwrap_err().to_string();
    assert!(error.contains("engine"), "{error}");
}

#[test]
fn only_an_image_by_digest_is_taken() {
    let digest = "a".repeat(64);
    let good = format!("registry.example.com:5000/rtc/rtcd@sha256:{digest}");
    assert_eq!(Image::parse(&good).unwrap().to_string(), good);
    assert_eq!(Image::parse(&good).unwrap().repository(), "registry.example.com:5000/rtc/rtcd");
    let refused = [
        ("rtcd:1.0", "has a tag"),
        ("registry.example.com:5000/rtcd", "neither tag nor digest"),
        ("rtcd", "neither tag nor digest"),
        (&format!("rtcd:1@sha256:{digest}"), "no repository"),
        (&format!("@sha256:{digest}"), "no repository"),
        (&format!("Rtcd@sha256:{digest}"), "no repository"),
        (&format!("rtcd@sha256:{}", &digest[1..]), "64 hexadecimal"),
        (&format!("rtcd@sha256:{}", digest.to_uppercase()), "64 hexadecimal"),
        (&format!("rtcd@sha512:{digest}"), "64 hexadecimal"),
    ];
    for (text, why) in refused {
        let error = Image::parse(text).unwrap_err().to_string();
        assert!(error.contains(why), "{text}: {error}");
    }
    only(
        |d| d.image = "rtcd:latest".to_owned(),
        "image: \"rtcd:latest\" has a tag and no digest: a tag moves",
    );
    only(|d| d.logs.as_mut().unwrap().image = "a".to_owned(), "logs.image: \"a\" has neither tag nor digest");
}

#[test]
fn names_are_names() {
    only(
        |d| d.environment = "Prod".to_owned(),
        "environment: \"Prod\" is no name: lower-case letters, digits and dashes, at most 30",
    );
    only(
        |d| d.namespace = "-a".to_owned(),
        "namespace: \"-a\" is no name: lower-case letters, digits and dashes, at most 50",
    );
    only(
        |d| d.monitoring.as_mut().unwrap().namespace = String::new(),
        "monitoring.namespace: \"\" is no name: lower-case letters, digits and dashes, at most 63",
    );
    only(
        |d| {
            d.labels.insert("rtc.io/release".to_owned(), "a".to_owned());
        },
        "labels: \"rtc.io/release\" = \"a\" is no label that may be given",
    );
    only(
        |d| {
            d.labels.insert("a".to_owned(), "b c".to_owned());
        },
        "labels: \"a\" = \"b c\" is no label that may be given",
    );
    only(
        |d| d.version = Some("1+2".to_owned()),
        "labels: \"app.kubernetes.io/version\" = \"1+2\" is no label that may be given",
    );
}

#[test]
fn targets_run_each_service_once_and_call_who_is_there() {
    let faults = refused(|d| d.targets.clear());
    assert_eq!(faults, ["targets: there is none", "entry.target: there is no target gateway"]);
    let faults = refused(|d| {
        *d = crate::examples::with_assistant(d.clone());
        target(d, "assistant").services = vec!["orders".to_owned()];
    });
    let twice = "targets: orders is run by assistant and by orders: who calls it would not know whom to ask";
    assert_eq!(faults, [twice, "targets.gateway.needs.upstreams: nobody runs assistant"]);
    let copied = |d: &mut Description, from: &str, to: &str| {
        let mut one = d.targets[from].clone();
        one.services = vec![format!("{to}-service")];
        d.targets.insert(to.to_owned(), one);
    };
    only(|d| copied(d, "payments", "migrate"), "targets.migrate: the house has something else of that name");
    only(
        |d| copied(d, "payments", "a-canary"),
        "targets.a-canary: the house has something else of that name",
    );
    only(|d| copied(d, "payments", "a-green"), "targets.a-green: the house has something else of that name");
    only(
        |d| target(d, "orders").needs.upstreams.push("orders".to_owned()),
        "targets.orders.needs.upstreams: orders runs in the target itself",
    );
    only(
        |d| target(d, "orders").needs.upstreams = Vec::new(),
        "targets.orders: it checks tokens, so it needs the keys of users among its upstreams",
    );
    only(
        |d| target(d, "orders").needs.bus = false,
        "targets.orders: orders keeps data and sends messages, so it needs database and bus",
    );
}

#[test]
fn nothing_is_kept_in_a_pod_and_engines_are_addresses() {
    let embedded = "is embedded, and a pod keeps nothing";
    let faults = refused(|d| d.engines.objects = None);
    assert_eq!(faults, [format!("targets.catalog.needs.objects: engines.objects {embedded}")]);
    let faults = refused(|d| d.engines.database = None);
    assert_eq!(faults.len(), 7, "{faults:?}");
    let bad = |engine: &str| format!("engines.{engine}: this is no address of one, or a password is in it");
    only(|d| d.engines.database = Some("mysql://rtc:secret@db:3306/rtc".to_owned()), &bad("database"));
    only(|d| d.engines.database = Some("postgres://rtc@db/rtc".to_owned()), &bad("database"));
    only(|d| d.engines.bus = Some("kafka://:9092".to_owned()), &bad("bus"));
    only(|d| d.engines.cache = Some("redis".to_owned()), &bad("cache"));
    only(|d| d.engines.cache = Some("rediss://:token@cache:6379".to_owned()), &bad("cache"));
    only(
        |d| d.networks.engines = Vec::new(),
        "networks.engines: somebody needs an engine, and nothing says where they are",
    );
    only(
        |d| d.networks.engines = vec!["10.0.0.0".to_owned()],
        "networks.engines: \"10.0.0.0\" is no address range",
    );
    only(
        |d| d.networks.resolvers = vec!["10.0.0.0/33".to_owned()],
        "networks.resolvers: \"10.0.0.0/33\" is no address range",
    );
    let way = Egress { cidr: "somewhere".to_owned(), port: 1, why: "x".to_owned() };
    only(
        |d| target(d, "users").needs.egress.push(way),
        "targets.users.needs.egress: \"somewhere\" is no address range",
    );
}

#[test]
fn amounts_and_numbers_can_be_kept_to() {
    let neither = "targets.users: either replicas or scaling, not both and not neither";
    only(|d| target(d, "users").replicas = Some(2), neither);
    only(|d| target(d, "users").scaling = None, neither);
    only(|d| target(d, "payments").replicas = Some(0), "targets.payments.replicas: 0 serves nobody");
    let scaling = |d: &mut Description| target(d, "users").scaling.take().unwrap();
    let changed = |change: &dyn Fn(&mut crate::description::Scaling), expected: &str| {
        only(
            |d| {
                let mut one = scaling(d);
                change(&mut one);
                target(d, "users").scaling = Some(one);
            },
            expected,
        );
    };
    changed(&|one| one.max = 2, "targets.users.scaling: min 2 and max 2 leave nothing to choose from");
    changed(&|one| one.min = 0, "targets.users.scaling: min 0 and max 8 leave nothing to choose from");
    changed(
        &|one| one.cpu_percent = None,
        "targets.users.scaling: there is nothing to measure (cpu_percent, memory_percent, lag)",
    );
    changed(&|one| one.cpu_percent = Some(0), "targets.users.scaling.cpu_percent: 0 is out of range");
    changed(
        &|one| one.memory_percent = Some(101),
        "targets.users.scaling.memory_percent: 101 is out of range",
    );
    changed(
        &|one| one.scale_down_after_s = 3601,
        "targets.users.scaling.scale_down_after_s: 3601 is out of range",
    );
    let lag = Lag { metric: "lag".to_owned(), selector: Default::default(), per_replica: 0 };
    changed(&|one| one.lag = Some(lag.clone()), "targets.users.scaling.lag.per_replica: 0 is out of range");
    for text in ["", "0", "1.2345", "one", "-1", "1.", "m"] {
        only(
            |d| target(d, "users").resources.cpu = text.to_owned(),
            &format!("targets.users.resources.cpu: {text:?} is no amount"),
        );
    }
    for text in ["", "0Mi", "1.5Gi", "1gb", "Mi"] {
        only(
            |d| target(d, "users").resources.memory = text.to_owned(),
            &format!("targets.users.resources.memory: {text:?} is no amount"),
        );
    }
    only(
        |d| target(d, "users").resources.cpu_limit = Some("999m".to_owned()),
        "targets.users.resources.cpu_limit: it is below what is promised",
    );
    only(|d| d.drain.notice_s = 3600, "drain: 3655 s until a pod is gone; more than an hour is none");
    only(|d| d.mesh.as_mut().unwrap().attempts = 6, "mesh.attempts: 6 is not between 0 and 5");
}

#[test]
fn secrets_are_somewhere() {
    only(
        |d| target(d, "users").needs.secrets.push("nothing".to_owned()),
        "secrets: nothing is needed by users, and nothing says where it is",
    );
    let existing = |name: &str, key: &str| Secrets::Existing {
        name: name.to_owned(),
        keys: [
            key,
            "admin_token",
            "cursor_key",
            "service_token",
            "vault_key",
            "admin_password",
            "smtp_password",
        ]
        .map(str::to_owned)
        .to_vec(),
    };
    only(|d| d.secrets = existing("{target}", "a b"), "secrets: \"a b\" is no name of one");
    only(
        |d| d.secrets = existing("{other}", "a"),
        "secrets.name: \"{other}\" is no name of a Secret, also with a target's name in it",
    );
    only(
        |d| {
            d.identity.roles.insert("orders".to_owned(), "role".to_owned());
        },
        "identity.roles.orders: \"role\" is no ARN",
    );
    let own = |place: &str, key: &str| format!("{place}: {key} is the deployment's own to say");
    only(
        |d| {
            d.settings.insert("data".to_owned(), "x".into());
        },
        &own("settings", "data"),
    );
    let server: toml::Table = toml::from_str("server = { api_bind = \"0.0.0.0:1\" }").unwrap();
    only(|d| target(d, "users").settings.extend(server), &own("targets.users.settings", "server.api_bind"));
}

#[test]
fn files_logs_and_rules_are_there() {
    only(
        |d| d.files.as_mut().unwrap().file_system_id = "vol-1".to_owned(),
        "files.file_system_id: \"vol-1\" is none of EFS",
    );
    only(|d| d.files.as_mut().unwrap().size = "much".to_owned(), "files.size: \"much\" is no amount");
    only(|d| d.files = None, "targets.analytics.needs.files: there is no [files]");
    for path in ["files", "/", "/etc/rtc", "/var/lib/rtc", "/mnt/../etc", "/run"] {
        only(
            |d| target(d, "analytics").needs.files = Some(path.to_owned()),
            &format!("targets.analytics.needs.files: {path:?} is no folder that may be put there"),
        );
    }
    only(
        |d| {
            let logs = d.logs.as_mut().unwrap();
            (logs.cloudwatch_group, logs.opensearch_host) = (None, None);
        },
        "logs: they go nowhere (cloudwatch_group, opensearch_host)",
    );
    only(
        |d| {
            d.monitoring.as_mut().unwrap().rules.insert("slo".to_owned(), "groups: []".to_owned());
        },
        "monitoring.rules.slo: there are no groups in it",
    );
}

#[test]
fn what_comes_in_comes_from_somewhere_to_something() {
    let entry = |target: &str, hosts: &[&str], certificate: &str| Entry::Alb {
        target: target.to_owned(),
        hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
        certificate_arn: certificate.to_owned(),
        scheme: Scheme::Internal,
    };
    let arn = "arn:aws:acm:ap-northeast-2:111122223333:certificate/a";
    only(|d| d.entry = entry("nobody", &["a.example.com"], arn), "entry.target: there is no target nobody");
    only(|d| d.entry = entry("gateway", &[], arn), "entry.hosts: there is none");
    only(|d| d.entry = entry("gateway", &["a_b.com"], arn), "entry.hosts: \"a_b.com\" is no name of a host");
    only(|d| d.entry = entry("gateway", &["a.example.com"], "x"), "entry.certificate_arn: \"x\" is no ARN");
    only(
        |d| d.networks.load_balancer = Vec::new(),
        "networks.load_balancer: traffic comes in from outside, and nothing says from where",
    );
    only(
        |d| d.entry = Entry::TargetGroup { target: "gateway".to_owned(), target_group_arn: "x".to_owned() },
        "entry.target_group_arn: \"x\" is no ARN",
    );
    let gateway = gateway_api(dev(), Certificate::Arn("x".to_owned()), None).entry;
    only(|d| d.entry = gateway, "entry.certificate.arn: \"x\" is no ARN");
}

#[test]
fn a_canary_is_another_one_of_what_is_there() {
    let canary = |change: &dyn Fn(&mut crate::description::Canary), expected: &str| {
        only(
            |d| {
                *d = with_canary(d.clone());
                change(d.canary.as_mut().unwrap());
            },
            expected,
        );
    };
    canary(&|one| one.targets = vec!["nobody".to_owned()], "canary.targets: there is no target nobody");
    canary(&|one| one.targets = Vec::new(), "canary.targets: there is none");
    canary(&|one| one.weight = 100, "canary.weight: 100 is not between 1 and 99");
    canary(&|one| one.replicas = 0, "canary.replicas: 0 shows nothing");
    canary(
        &|one| one.image = "rtcd:2".to_owned(),
        "canary.image: \"rtcd:2\" has a tag and no digest: a tag moves",
    );
    only(
        |d| {
            *d = with_canary(d.clone());
            d.image = OTHER_IMAGE.to_owned();
        },
        "canary.image: it is the one that runs already",
    );
}

//! What is counted of each kind, and what is said where it cannot be.

use serde_json::json;

use super::*;

fn created<'a>(address: &'a str, kind: &'a str, after: &'a Json) -> Seen<'a> {
    Seen { address, kind, before: &Json::Null, after }
}

fn items(seen: &[Seen<'_>], configuration: &Json) -> Vec<(String, u64)> {
    let stock = take(seen, configuration, &Json::Null);
    let last = stock.holdings.last().unwrap().after.clone().unwrap();
    last.items.into_iter().map(|item| (item.price, item.quantity)).collect()
}

fn notes(seen: &[Seen<'_>]) -> Vec<String> {
    take(seen, &Json::Null, &Json::Null).holdings.last().unwrap().after.clone().unwrap().notes
}

fn named(price: &str, quantity: u64) -> (String, u64) {
    (price.to_owned(), quantity)
}

#[test]
fn a_machine_is_its_type_its_disk_and_its_metrics() {
    let values = json!({"instance_type": "t3.large", "monitoring": true,
        "root_block_device": [{"volume_type": "gp3", "volume_size": 30}]});
    assert_eq!(
        items(&[created("aws_instance.ci", "aws_instance", &values)], &Json::Null),
        [named("ec2/t3.large", 1), named("ebs/gp3", 30), named("cloudwatch/metric", 7)]
    );
    let bare = json!({"instance_type": "t3.large"});
    assert_eq!(notes(&[created("aws_instance.ci", "aws_instance", &bare)]).len(), 1);
}

#[test]
fn nodes_have_the_disks_of_the_template_with_their_key() {
    let template = |size: u64| {
        json!({"block_device_mappings": [{"ebs": [{"volume_size": size, "volume_type": "gp3"}]}],
            "monitoring": [{"enabled": true}]})
    };
    let (ours, other) = (template(50), template(900));
    let group = json!({"instance_types": ["t3.large", "t3a.large"], "capacity_type": "SPOT",
        "scaling_config": [{"desired_size": 2, "min_size": 2, "max_size": 4}]});
    let seen = [
        created("module.eks.aws_launch_template.node[\"big.ones\"]", "aws_launch_template", &other),
        created("module.eks.aws_launch_template.node[\"services\"]", "aws_launch_template", &ours),
        created("module.eks.aws_eks_node_group.this[\"services\"]", "aws_eks_node_group", &group),
    ];
    assert_eq!(
        items(&seen, &Json::Null),
        [named("ec2/t3.large", 2), named("ebs/gp3", 100), named("cloudwatch/metric", 14)]
    );
    assert_eq!(notes(&seen).len(), 2, "spot, and several types");
}

#[test]
fn a_standby_is_a_second_machine_with_a_second_disk_and_a_replica_has_its_sources_disk() {
    let primary = json!({"identifier": "rtc", "engine": "mysql", "instance_class": "db.r7g.large",
        "allocated_storage": 100, "storage_type": "gp3", "multi_az": true, "manage_master_user_password": true});
    let replica =
        json!({"replicate_source_db": "rtc", "instance_class": "db.r7g.large", "storage_type": "gp3"});
    let both = [
        created("aws_db_instance.primary", "aws_db_instance", &primary),
        created("aws_db_instance.replica[0]", "aws_db_instance", &replica),
    ];
    assert_eq!(
        items(&both[..1], &Json::Null),
        [
            named("rds/mysql/db.r7g.large", 2),
            named("rds/storage/gp3", 200),
            named("secretsmanager/secret", 1)
        ]
    );
    assert_eq!(
        items(&both, &Json::Null),
        [named("rds/mysql/db.r7g.large", 1), named("rds/storage/gp3", 100)]
    );
}

#[test]
fn an_endpoint_is_paid_in_each_zone_and_that_of_s3_is_free() {
    let zones = [json!({"availability_zone": "a"}), json!({"availability_zone": "b"})];
    let endpoint = json!({"vpc_endpoint_type": "Interface"});
    let seen = [
        created("aws_subnet.private[\"a\"]", "aws_subnet", &zones[0]),
        created("aws_subnet.public[\"a\"]", "aws_subnet", &zones[0]),
        created("aws_subnet.private[\"b\"]", "aws_subnet", &zones[1]),
        created("aws_vpc_endpoint.interface[\"sts\"]", "aws_vpc_endpoint", &endpoint),
    ];
    let said = |zones: &str| {
        json!({"root_module": {"module_calls": {"platform": {"expressions": {
            "network": {"constant_value": {"interface_endpoint_zones": zones}}}}}}})
    };
    assert_eq!(items(&seen, &said("all")), [named("vpce/interface", 2)]);
    assert_eq!(items(&seen, &said("one")), [named("vpce/interface", 1)]);
    assert_eq!(notes(&seen).len(), 1, "counted in one zone, and said");
    let known = json!({"vpc_endpoint_type": "Interface", "subnet_ids": ["s-1", "s-2", "s-3"]});
    let exists = [created("aws_vpc_endpoint.interface", "aws_vpc_endpoint", &known)];
    assert_eq!(items(&exists, &said("one")), [named("vpce/interface", 3)]);
    let gateway = json!({"vpc_endpoint_type": "Gateway"});
    assert_eq!(items(&[created("aws_vpc_endpoint.s3", "aws_vpc_endpoint", &gateway)], &Json::Null), []);
}

#[test]
fn a_load_balancer_has_an_address_in_each_zone_unless_it_is_internal() {
    let zones = [json!({"availability_zone": "a"}), json!({"availability_zone": "b"})];
    for (internal, expected) in [
        (false, vec![named("elb/application", 1), named("ipv4/public", 2)]),
        (true, vec![named("elb/application", 1)]),
    ] {
        let values = json!({"load_balancer_type": "application", "internal": internal});
        let seen = [
            created("aws_subnet.a", "aws_subnet", &zones[0]),
            created("aws_subnet.b", "aws_subnet", &zones[1]),
            created("aws_lb.this", "aws_lb", &values),
        ];
        assert_eq!(items(&seen, &Json::Null), expected);
    }
}

#[test]
fn searching_counts_its_masters_and_every_disk() {
    let values = json!({"cluster_config": [{"instance_type": "m7g.large.search", "instance_count": 3,
        "dedicated_master_enabled": true, "dedicated_master_type": "m7g.medium.search", "dedicated_master_count": 3}],
        "ebs_options": [{"ebs_enabled": true, "volume_type": "gp3", "volume_size": 100}]});
    assert_eq!(
        items(&[created("aws_opensearch_domain.this", "aws_opensearch_domain", &values)], &Json::Null),
        [
            named("opensearch/m7g.large.search", 3),
            named("opensearch/m7g.medium.search", 3),
            named("opensearch/storage/gp3", 300)
        ]
    );
}

#[test]
fn the_region_is_a_word_or_a_variable() {
    let word =
        json!({"provider_config": {"aws": {"expressions": {"region": {"constant_value": "us-east-1"}}}}});
    let variable =
        json!({"provider_config": {"aws": {"expressions": {"region": {"references": ["var.region"]}}}}});
    let variables = json!({"region": {"value": "ap-northeast-2"}});
    assert_eq!(take(&[], &word, &Json::Null).region.unwrap(), "us-east-1");
    assert_eq!(take(&[], &variable, &variables).region.unwrap(), "ap-northeast-2");
    assert_eq!(take(&[], &variable, &Json::Null).region, None);
}

#[test]
fn the_bus_is_found_in_either_kind() {
    let machine = json!({"instance_type": "t3.medium", "root_block_device": [{"volume_type": "gp3", "volume_size": 16}]});
    let disk = json!({"type": "gp3", "size": 50});
    let ec2 = [
        created("module.events.aws_instance.broker[\"broker-0\"]", "aws_instance", &machine),
        created("module.events.aws_instance.broker[\"broker-1\"]", "aws_instance", &machine),
        created("module.events.aws_ebs_volume.broker[\"broker-0\"]", "aws_ebs_volume", &disk),
        created("module.events.aws_ebs_volume.broker[\"broker-1\"]", "aws_ebs_volume", &disk),
        created("module.ci.aws_instance.this", "aws_instance", &machine),
    ];
    let bus = take(&ec2, &Json::Null, &Json::Null).bus().unwrap();
    assert_eq!((bus.is_managed, bus.machine.as_str(), bus.brokers), (false, "t3.medium", 2));
    assert_eq!((bus.disk_gib, bus.root_gib), (50, 16));
    let cluster = json!({"number_of_broker_nodes": 3, "broker_node_group_info": [{"instance_type": "kafka.t3.small",
        "storage_info": [{"ebs_storage_info": [{"volume_size": 50}]}]}]});
    let msk = [created("module.events.aws_msk_cluster.this[0]", "aws_msk_cluster", &cluster)];
    let bus = take(&msk, &Json::Null, &Json::Null).bus().unwrap();
    assert_eq!(
        (bus.is_managed, bus.machine.as_str(), bus.brokers, bus.disk_gib),
        (true, "kafka.t3.small", 3, 50)
    );
}

//! Sums against figures that were worked out by hand.

use serde_json::{Value as Json, json};

use super::*;
use crate::bill::{self, Seen};

fn prices() -> Prices {
    Prices::of_the_repository().unwrap()
}

fn seen<'a>(address: &'a str, kind: &'a str, before: &'a Json, after: &'a Json) -> Seen<'a> {
    Seen { address, kind, before, after }
}

fn in_seoul(all: &[Seen<'_>]) -> Estimate {
    let inventory = bill::take(all, &Json::Null, &Json::Null);
    estimate(&inventory, &prices(), "ap-northeast-2")
}

#[test]
fn every_price_says_its_day_and_its_source() {
    let prices = prices();
    assert_eq!(prices.regions().into_iter().collect::<Vec<_>>(), ["ap-northeast-2", "us-east-1"]);
    for ((region, item), price) in &prices.lines {
        assert!(price.usd > 0.0 && price.usd < 100.0, "{region} {item}");
        assert!(price.date.len() == 10 && price.source.len() > 10, "{region} {item}");
    }
    for pair in &prices.counterparts {
        for region in prices.regions() {
            assert!(prices.find(region, &format!("ec2/{}", pair.ec2)).is_some());
            assert!(prices.find(region, &format!("msk/{}", pair.msk)).is_some());
        }
    }
}

#[test]
fn both_regions_price_the_same_things() {
    let prices = prices();
    let of = |region: &str| -> Vec<String> {
        prices.lines.keys().filter(|(at, _)| at == region).map(|(_, item)| item.clone()).collect()
    };
    let seoul = of("ap-northeast-2");
    assert!(of("us-east-1").iter().all(|item| seoul.contains(item)));
}

#[test]
fn a_machine_that_grows_costs_the_difference() {
    let (small, large) = (
        json!({"instance_type": "t3.medium", "root_block_device": [{"volume_type": "gp3", "volume_size": 30}]}),
        json!({"instance_type": "t3.large", "root_block_device": [{"volume_type": "gp3", "volume_size": 50}]}),
    );
    let month = in_seoul(&[seen("aws_instance.ci", "aws_instance", &small, &large)]);
    // 730 × 0.052 + 30 × 0.0912 = 37.96 + 2.736; 730 × 0.104 + 50 × 0.0912 = 75.92 + 4.56
    assert_eq!((month.before, month.after), (40_696_000, 80_480_000));
    assert_eq!(month.lines[0].change(), 39_784_000);
}

#[test]
fn what_comes_and_what_goes_is_counted_on_its_side() {
    let (nothing, gateway) = (Json::Null, json!({}));
    let month = in_seoul(&[
        seen("aws_nat_gateway.a", "aws_nat_gateway", &nothing, &gateway),
        seen("aws_eip.old", "aws_eip", &gateway, &nothing),
        seen("aws_eip.kept", "aws_eip", &gateway, &gateway),
    ]);
    // 730 × 0.059 = 43.07; 730 × 0.005 = 3.65
    assert_eq!((month.before, month.after), (7_300_000, 46_720_000));
}

#[test]
fn a_database_with_a_standby_costs_twice() {
    let values = json!({"identifier": "rtc", "engine": "mysql", "instance_class": "db.r7g.large",
        "allocated_storage": 100, "storage_type": "gp3", "multi_az": true});
    let month = in_seoul(&[seen("aws_db_instance.primary", "aws_db_instance", &Json::Null, &values)]);
    // 2 × 730 × 0.2869 + 2 × 100 × 0.131 = 418.874 + 26.2
    assert_eq!(month.after, 445_074_000);
    assert_eq!(month.lines[0].unverified, ["rds/mysql/db.r7g.large"]);
}

#[test]
fn a_type_that_is_not_in_the_table_is_said_and_in_no_sum() {
    let values =
        json!({"instance_type": "x9.mega", "root_block_device": [{"volume_type": "gp3", "volume_size": 10}]});
    let month = in_seoul(&[seen("aws_instance.new", "aws_instance", &Json::Null, &values)]);
    assert_eq!(month.after, 912_000, "its disk alone");
    assert!(
        month.left_out.iter().any(|left| left.what == "ec2/x9.mega" && left.why.contains("ap-northeast-2"))
    );
}

#[test]
fn use_is_left_out_and_so_is_a_kind_that_nobody_priced_and_what_is_free_is_not_mentioned() {
    let values = json!({});
    let month = in_seoul(&[
        seen("aws_s3_bucket.images", "aws_s3_bucket", &Json::Null, &values),
        seen("aws_redshift_cluster.this", "aws_redshift_cluster", &Json::Null, &values),
        seen("aws_iam_role.node", "aws_iam_role", &Json::Null, &values),
    ]);
    let said: Vec<&str> = month.left_out.iter().map(|left| left.what.as_str()).collect();
    assert_eq!(said, ["aws_redshift_cluster", "aws_s3_bucket"]);
}

#[test]
fn both_ways_to_run_the_bus_stand_side_by_side() {
    let machine = json!({"instance_type": "t3.medium", "root_block_device": [{"volume_type": "gp3", "volume_size": 16}]});
    let disk = json!({"type": "gp3", "size": 50});
    let addresses: Vec<(String, String)> = (0..3)
        .map(|index| {
            let of = |kind: &str| format!("module.events.{kind}.broker[\"broker-{index}\"]");
            (of("aws_instance"), of("aws_ebs_volume"))
        })
        .collect();
    let all: Vec<Seen<'_>> = addresses
        .iter()
        .flat_map(|(one, two)| {
            [
                seen(one, "aws_instance", &Json::Null, &machine),
                seen(two, "aws_ebs_volume", &Json::Null, &disk),
            ]
        })
        .collect();
    let month = in_seoul(&all);
    let [managed, own] = month.backends.as_slice() else { panic!("{:?}", month.backends) };
    // 3 × 730 × 0.057 + 3 × 50 × 0.114 = 124.83 + 17.1
    assert_eq!((managed.name, managed.is_planned, managed.monthly), ("MSK", false, Some(141_930_000)));
    // 3 × 730 × 0.052 + 3 × 66 × 0.0912 = 113.88 + 18.0576
    assert_eq!((own.name, own.is_planned, own.monthly), ("Kafka on EC2", true, Some(131_937_600)));
    assert!(own.unverified.is_empty() && !managed.unverified.is_empty());
}

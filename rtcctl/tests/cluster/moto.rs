//! What is read of an AWS that is not ours: moto, which has clusters, node groups, machines and subnets, and neither insights
//! nor add-ons nor versions.

use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};

use crate::ground::{Ground, REGION, told};

/// Makes things at moto, which looks at no signature but at the service that it is for.
struct Maker {
    client: Client,
    url: String,
}

impl Maker {
    fn new(url: &str) -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        Self { client: Client::builder().build().unwrap(), url: url.to_owned() }
    }

    fn signed(&self, request: RequestBuilder, service: &str) -> RequestBuilder {
        let scope = format!("AKIDEXAMPLE/20260301/{REGION}/{service}/aws4_request");
        request.header(
            "authorization",
            format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0"),
        )
    }

    async fn eks(&self, path: &str, body: Value) -> Value {
        let request = self.client.post(format!("{}{path}", self.url)).json(&body);
        let answer = self.signed(request, "eks").send().await.unwrap();
        assert!(answer.status().is_success(), "{path}: {}", answer.text().await.unwrap());
        answer.json().await.unwrap()
    }

    async fn ec2(&self, body: String) -> String {
        let request = self.client.post(format!("{}/", self.url)).body(format!("{body}&Version=2016-11-15"));
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        let answer = self.signed(request, "ec2").send().await.unwrap();
        assert!(answer.status().is_success(), "{body}");
        answer.text().await.unwrap()
    }
}

/// The texts of an element, as far as a test needs XML.
fn texts<'a>(xml: &'a str, element: &str) -> Vec<&'a str> {
    let open = format!("<{element}>");
    xml.split(open.as_str()).skip(1).filter_map(|rest| rest.split('<').next()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clusters_nodes_and_room_are_read_from_an_aws_that_is_not_ours() {
    let url = told("RTC_TEST_AWS");
    let (maker, ground) = (Maker::new(&url), Ground::on(&url));
    let subnets = maker.ec2("Action=DescribeSubnets".to_owned()).await;
    let subnets: Vec<String> = texts(&subnets, "subnetId").into_iter().take(2).map(str::to_owned).collect();
    let images = maker.ec2("Action=DescribeImages".to_owned()).await;
    let image = texts(&images, "imageId")[0].to_owned();
    let role = "arn:aws:iam::123456789012:role/x";
    let vpc = json!({"subnetIds": subnets});
    for name in ["rtc-moto", "rtc-other"] {
        let body = json!({"name": name, "version": "1.33", "roleArn": role, "resourcesVpcConfig": vpc});
        maker.eks("/clusters", body).await;
    }
    let group = json!({
        "nodegroupName": "shop", "nodeRole": role, "subnets": subnets, "instanceTypes": ["m5.large"], "version": "1.32",
        "releaseVersion": "1.32.1-20250101", "scalingConfig": {"minSize": 1, "maxSize": 5, "desiredSize": 3},
    });
    maker.eks("/clusters/rtc-moto/node-groups", group).await;
    for (cluster, subnet) in
        [("rtc-moto", &subnets[0]), ("rtc-moto", &subnets[1]), ("rtc-other", &subnets[0])]
    {
        let tags = [
            (format!("kubernetes.io/cluster/{cluster}"), "owned"),
            ("eks:nodegroup-name".to_owned(), "shop"),
        ];
        let tags: String = tags
            .iter()
            .enumerate()
            .map(|(at, (key, value))| {
                let at = at + 1;
                format!("&TagSpecification.1.Tag.{at}.Key={key}&TagSpecification.1.Tag.{at}.Value={value}")
            })
            .collect();
        let body = format!(
            "Action=RunInstances&ImageId={image}&InstanceType=m5.large&MinCount=1&MaxCount=1&SubnetId={subnet}\
             &TagSpecification.1.ResourceType=instance{tags}"
        );
        maker.ec2(body).await;
    }

    let listed = ground.document(&["cluster", "list"]);
    let names: Vec<&str> = listed["data"]["clusters"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["name"].as_str().unwrap())
        .collect();
    assert!(names.contains(&"rtc-moto") && names.contains(&"rtc-other"), "{names:?}");

    let cluster = ["--cluster", "rtc-moto"];
    let info = ground.document(&[&["cluster", "info"], &cluster[..]].concat());
    assert_eq!(
        (&info["data"]["cluster"]["status"], &info["data"]["cluster"]["version"]),
        (&"ACTIVE".into(), &"1.33".into())
    );
    // What moto does not have is told, and hides nothing.
    let missing = info["findings"].as_array().unwrap().iter().filter(|finding| finding["code"] == "CLU020");
    assert_eq!(missing.count(), 3, "{info}");

    let nodes = ground.document(&[&["cluster", "nodes"], &cluster[..]].concat());
    let instances = nodes["data"]["instances"].as_array().unwrap();
    assert_eq!(
        (instances.len(), &instances[0]["group"], &instances[0]["instance_type"]),
        (2, &"shop".into(), &"m5.large".into())
    );
    let codes: Vec<&str> = nodes["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|finding| finding["code"].as_str().unwrap())
        .collect();
    assert!(
        codes.contains(&"CLU032") && codes.contains(&"CLU033"),
        "2 of 3 run, and of an older version: {codes:?}"
    );

    let capacity = ground.document(&[&["cluster", "capacity", "--surge", "10"], &cluster[..]].concat());
    let room = &capacity["data"]["types"][0];
    assert_eq!(
        (&room["instance_type"], &room["pods_per_node"], &room["nodes"]),
        (&"m5.large".into(), &29.into(), &2.into())
    );
    assert_eq!(capacity["data"]["subnets"].as_array().map(Vec::len), Some(2));
    assert_eq!(capacity["status"], "ok", "{capacity}");

    let (exit, error) = ground.error(&["cluster", "info", "--cluster", "rtc-mtoo"]);
    assert_eq!((exit, error["code"].as_str()), (Some(5), Some("CLU002")));
    assert_eq!(error["hints"][0], "did you mean rtc-moto?");
}

//! What needs no cluster: render, chart, lint, and the tables that they read.

use serde_json::{Value, json};

use crate::commands::testing::Typed;

pub const IMAGE: &str = "111122223333.dkr.ecr.ap-northeast-2.amazonaws.com/rtc-dev/rtcd@sha256:3f1c5a6b7d8e9f00112233445566778899aabbccddeeff00112233445566778a";

/// The project's own file, and what Terraform would say of both environments.
pub fn project() -> Typed {
    let typed = Typed::alone();
    let text = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/../rtc.toml")).unwrap();
    typed.write("rtc.toml", &text);
    for environment in ["dev", "prod"] {
        let outputs = json!({ "rtc": { "sensitive": false, "value": outputs(environment) } });
        typed.write(&format!("{environment}.json"), outputs.to_string().as_bytes());
    }
    typed
}

fn outputs(environment: &str) -> Value {
    let services = ["users", "catalog", "inventory", "orders", "payments", "notifications", "analytics"].map(
        |service| {
            let arn = format!("arn:aws:secretsmanager:ap-northeast-2:111122223333:secret:rtc/{service}");
            (service.to_owned(), Value::from(arn))
        },
    );
    json!({
        "schema": 1, "environment": environment, "region": "ap-northeast-2",
        "cluster": { "namespace": "rtc", "roles": { "shop": "arn:aws:iam::111122223333:role/rtc-shop" } },
        "database": {
            "url": "mysql://rtc_{service}@db.internal:3306/rtc_{service}",
            "secret_arns": Value::Object(services.into_iter().collect()),
        },
        "events": {
            "bootstrap": "b1.internal:9096,b2.internal:9096",
            "secret_arn": "arn:aws:secretsmanager:ap-northeast-2:111122223333:secret:rtc/events",
        },
        "storage": { "buckets": { "images": format!("rtc-{environment}-images") } },
        "edge": { "target_group_arn": "arn:aws:elasticloadbalancing:ap-northeast-2:111122223333:targetgroup/rtc/0123456789abcdef" },
    })
}

fn words<'a>(environment: &'a str, outputs: &'a str, rest: &[&'a str]) -> Vec<&'a str> {
    ["--env", environment, "deploy"]
        .into_iter()
        .chain(rest.iter().copied())
        .chain(["--outputs", outputs])
        .collect()
}

#[tokio::test]
async fn the_projects_own_environments_render_without_a_network() {
    let typed = project();
    for (environment, file, deployments) in [("dev", "dev.json", 3), ("prod", "prod.json", 8)] {
        let came = typed.run(&words(environment, file, &["render", "--image", IMAGE, "-o", "json"])).await;
        assert_eq!(came.exit, 0, "{}", came.stderr);
        let document = came.json();
        let objects = document["data"]["objects"].as_array().unwrap();
        let count = |kind: &str| objects.iter().filter(|one| one["object"]["kind"] == kind).count();
        assert_eq!(count("Deployment"), deployments, "{environment}");
        assert_eq!((count("Job"), count("TargetGroupBinding")), (1, 1));
        let images = objects.iter().flat_map(|one| {
            one["object"]["spec"]["template"]["spec"]["containers"].as_array().cloned().unwrap_or_default()
        });
        assert!(images.into_iter().all(|container| container["image"] == IMAGE));
        assert_eq!(document["schema"], "rtcctl/deploy/render/v1");
        let clean = typed.run(&words(environment, file, &["lint"])).await;
        assert_eq!(clean.exit, 0, "{}", clean.stdout);
        assert!(clean.stdout.ends_with("nothing to complain of\n"), "{}", clean.stdout);
    }
}

#[tokio::test]
async fn render_writes_manifests_that_its_own_lint_reads() {
    let typed = project();
    let came = typed.run(&words("dev", "dev.json", &["render", "--image", IMAGE])).await;
    assert_eq!(came.exit, 0, "{}", came.stderr);
    let documents = manifests::yaml::read(&came.stdout).unwrap();
    assert!(documents.len() > 20, "{}", documents.len());
    assert_eq!(documents[0]["kind"], "Namespace");
    let yaml = typed.run(&words("dev", "dev.json", &["render", "--image", IMAGE, "-o", "yaml"])).await;
    assert_eq!(yaml.stdout, came.stdout);

    let came = typed.run(&words("dev", "dev.json", &["render", "--image", IMAGE, "--dir", "out"])).await;
    assert_eq!(came.exit, 0, "{}", came.stderr);
    let files = std::fs::read_dir(typed.path("out")).unwrap().count();
    assert_eq!(files, documents.len());
    assert_eq!(typed.run(&["deploy", "lint", "out"]).await.exit, 0);
    // What lay there is told of, and breaks what is looked at.
    typed.write(
        "out/old.yaml",
        b"apiVersion: v1\nkind: Service\nmetadata: {name: x}\nspec: {selector: {a: b}, ports: [{port: 1}]}\n",
    );
    let again = typed.run(&words("dev", "dev.json", &["render", "--image", IMAGE, "--dir", "out"])).await;
    assert!(again.stderr.contains("DEP012") && again.stderr.contains("old.yaml"), "{}", again.stderr);
    let broken = typed.run(&["deploy", "lint", "out", "-o", "json"]).await;
    assert_eq!((broken.exit, &broken.json()["findings"][0]["code"]), (30, &json!("LNT015")));
}

#[tokio::test]
async fn warnings_alone_fail_only_where_that_is_asked_for() {
    let typed = Typed::alone();
    typed.write("a.yaml", WARNED.as_bytes());
    let came = typed.run(&["deploy", "lint", "a.yaml", "-o", "json"]).await;
    let found: Vec<String> =
        came.json()["data"]["findings"].as_array().unwrap().iter().map(|one| one["id"].to_string()).collect();
    assert_eq!((came.exit, found), (0, vec!["\"LNT012\"".to_owned()]));
    assert_eq!(typed.run(&["deploy", "lint", "a.yaml", "--strict"]).await.exit, 30);
    typed.write("b.yaml", b"{");
    let unreadable = typed.run(&["deploy", "lint", "b.yaml", "-o", "json"]).await;
    assert_eq!((unreadable.exit, &unreadable.error()["code"]), (3, &json!("DEP006")));
    assert_eq!(typed.run(&["deploy", "lint", "nothing.yaml"]).await.exit, 3);
}

/// A worker of two replicas that may all be on one node.
const WARNED: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: { name: worker, namespace: a }
spec:
  replicas: 2
  strategy: { type: RollingUpdate, rollingUpdate: { maxSurge: 1, maxUnavailable: 0 } }
  selector: { matchLabels: { app: worker } }
  template:
    metadata: { labels: { app: worker } }
    spec:
      containers:
        - name: worker
          image: "registry.example.com/worker@sha256:3f1c5a6b7d8e9f00112233445566778899aabbccddeeff00112233445566778a"
          resources: { requests: { cpu: 100m, memory: 64Mi }, limits: { memory: 64Mi } }
"#;

#[tokio::test]
async fn a_chart_is_written_whole() {
    let typed = project();
    let came = typed.run(&words("prod", "prod.json", &["chart", "--image", IMAGE, "--dir", "chart"])).await;
    assert_eq!(came.exit, 0, "{}", came.stderr);
    for file in ["Chart.yaml", "values.yaml", "values.schema.json", "templates/gateway.yaml"] {
        assert!(typed.path("chart").join(file).is_file(), "{file}");
    }
    let dry = typed
        .run(&[
            "--dry-run",
            "--env",
            "prod",
            "deploy",
            "chart",
            "--image",
            IMAGE,
            "--outputs",
            "prod.json",
            "--dir",
            "other",
        ])
        .await;
    assert_eq!(dry.exit, 0);
    assert!(!typed.path("other").exists());
}

#[tokio::test]
async fn what_is_missing_is_said_with_the_way_to_it() {
    let typed = project();
    let code = async |words: &[&str]| {
        let mut all = words.to_vec();
        all.extend(["-o", "json"]);
        let came = typed.run(&all).await;
        (came.exit, came.error()["code"].as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(code(&words("dev", "dev.json", &["render"])).await, (2, "DEP004".to_owned()));
    assert_eq!(
        code(&words("dev", "prod.json", &["render", "--image", IMAGE])).await,
        (3, "DEP003".to_owned())
    );
    assert_eq!(
        code(&words("dev", "none.json", &["render", "--image", IMAGE])).await,
        (3, "DEP003".to_owned())
    );
    let local = code(&["deploy", "render", "--image", IMAGE]).await;
    assert_eq!(local.0, 3);
    typed.write("rtc.toml", b"[environments.dev.deploy]\nnamespace = \"x\"\n");
    assert_eq!(code(&["deploy", "render", "--image", IMAGE]).await, (3, "DEP001".to_owned()));
    assert_eq!(code(&["--env", "dev", "deploy", "render", "--image", IMAGE]).await, (3, "DEP002".to_owned()));
}

#[tokio::test]
async fn slips_in_the_tables_are_found_where_they_stand() {
    let typed = Typed::alone();
    let refused = async |text: &str| {
        typed.write("rtc.toml", text.as_bytes());
        let came = typed.run(&["config", "validate", "-o", "json"]).await;
        assert_eq!(came.exit, 3, "{}", came.stdout);
        let error = came.error();
        format!("{} {} {}", error["code"], error["message"], error["hints"])
    };
    let said = refused("[environments.dev.deploy.targets.a]\nreplics = 2\n").await;
    assert!(said.contains("CFG003") && said.contains("rtc.toml:2") && said.contains("replicas?"), "{said}");
    let said = refused("[deploy.entry]\nkind = \"abl\"\n").await;
    assert!(said.contains("CFG004") && said.contains("did you mean alb"), "{said}");
    let said = refused("[deploy.targets.a]\nreplicas = \"two\"\n").await;
    assert!(said.contains("a whole number is expected here"), "{said}");
    let said = refused("[deploy.drain]\npause_s = -1\n").await;
    assert!(said.contains("a number from 0"), "{said}");
    let said = refused("[deploy]\nimage = \"x\"\n").await;
    assert!(said.contains("unknown key"), "{said}");
    let said = refused("[environments.dev]\ndeploi = 1\n").await;
    assert!(said.contains("did you mean deploy?"), "{said}");
    // What rtcd knows is rtcd's to say.
    typed.write("rtc.toml", b"[deploy.settings.whatever]\nanything = 1\n");
    assert_eq!(typed.run(&["config", "validate"]).await.exit, 0);
    let schema = typed.run(&["config", "schema"]).await;
    let schema: Value = serde_json::from_str(&schema.stdout).unwrap();
    let environment = &schema["properties"]["environments"]["additionalProperties"]["properties"];
    assert_eq!(schema["properties"]["deploy"], environment["deploy"]);
}

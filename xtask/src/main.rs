//! The workspace's own tasks: `cargo xtask up | ci | test | tidy | codegen | conformance | fuzz | bench`.
//!
//! Written without a command-line library, so that it compiles in a second before anything else does.

mod analytics_bench;
mod bench;
mod bench_engines;
mod ci;
mod cluster;
mod codegen;
mod compare;
mod conformance;
mod dashboards;
mod deploy_bench;
mod engines;
mod fuzz;
mod image;
mod image_bench;
mod infra;
mod infra_bench;
mod manifests;
mod metrics_page;
mod pipelines;
mod platform;
mod prometheus;
mod run;
mod ship;
mod suites;
mod tidy;

use std::process::ExitCode;

const HELP: &str = "\
Tasks of the RTC workspace

  cargo xtask up [ARGUMENTS]     builds rtcd and rtcctl as the tests have them, and runs `rtcctl up`
  cargo xtask test               every test that needs nothing but cargo and a C compiler
  cargo xtask test engines       those on MariaDB, Kafka, Redis, S3 and SMTP: installs, starts and stops them
  cargo xtask test kafka-tls     TLS and SCRAM to Kafka; compiles an OpenSSL first (perl, three minutes of a core)
  cargo xtask test cluster       rtcctl cluster run by the real kubectl for its tokens, and asking moto
  cargo xtask test cluster --real
                                 what is asked of an API server, of a real one, which is built first (5 to 20 minutes)
  cargo xtask test image         images of rtcd, read by skopeo and umoci, run, and moved through a registry
  cargo xtask test infra         terraform/ and rtcctl infra, with the real Terraform and provider against moto
  cargo xtask test manifests     every object of Kubernetes against its schemas, checkov and Helm
  cargo xtask test pipelines     Jenkinsfiles by a real parser; agents, Jenkins as code and CodeBuild by schemas
  cargo xtask test ship          a release from end to end, killed after every step, refused and taken back
  cargo xtask test metrics       every expression of dashboards and rules against a real Prometheus
  cargo xtask test metrics burning
                                 of it, that budgets which burn are told in time
  cargo xtask test --all         both, the long suites whole (docs/TESTING.md)
  cargo xtask conformance        the API keeps to its OpenAPI document (schemathesis); part of test engines
  cargo xtask fuzz [TARGET] [--seconds N]
                                 parsers of what comes from outside under a fuzzer, a minute each
  cargo xtask ci                 what CI runs: tidy, format, lint while compiling, tests, engines, fuzz, codegen --check
  cargo xtask tidy               rules of the house that no lint knows
  cargo xtask dashboards [--check]
                                 writes dashboards/ and docs/METRICS.md from the catalogue of metrics
  cargo xtask chart [--check]    writes pipelines/helm from the manifests
  cargo xtask codegen [--check]  writes docs/reference and those too; --check only compares
  cargo xtask bench orders       the checkout under load, release build, ratios and medians
  cargo xtask bench engines      the same on MariaDB, a broker, Redis and S3, with one replica and with two
  cargo xtask bench analytics    events a second into windows on one core, memory, listeners to the live numbers
  cargo xtask bench metrics      rtcctl's start, and its screen of the platform from Prometheus and from history
  cargo xtask bench image        rtcctl image build --push and skopeo copy of the same layers, one after the other
  cargo xtask bench infra        rtcctl infra apply and the bare commands that it runs, one after the other
  cargo xtask bench deploy       rtcctl deploy status of 500 pods, kubectl get pods and bare requests; ends of rollouts
  cargo xtask bench compare      rtcctl load and k6 against the same platform
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["ci"] => ci::run(),
        ["up", rest @ ..] => platform::up(rest),
        ["test"] => suites::embedded(suites::Extent::Bounded),
        ["test", "cluster"] => cluster::run(),
        ["test", "cluster", "--real"] => cluster::real(),
        ["test", "engines"] => engines::run(suites::Extent::Bounded),
        ["test", "engines", "--all"] => engines::run(suites::Extent::Whole),
        ["test", "kafka-tls"] => engines::kafka_tls(),
        ["test", "image"] => image::run(),
        ["test", "infra"] => infra::run(suites::Extent::Whole),
        ["test", "infra", "--bounded"] => infra::run(suites::Extent::Bounded),
        ["test", "manifests"] => manifests::run(),
        ["test", "ship"] => ship::run(),
        ["test", "pipelines"] => pipelines::run(),
        ["chart"] => manifests::chart(codegen::Mode::Write),
        ["chart", "--check"] => manifests::chart(codegen::Mode::Check),
        ["test", "metrics"] => prometheus::live::run(),
        ["test", "metrics", "burning"] => prometheus::live::burning(),
        ["test", "--all"] => suites::all(),
        ["conformance"] => conformance::run(suites::Extent::Bounded),
        ["conformance", "--all"] => conformance::run(suites::Extent::Whole),
        ["fuzz", rest @ ..] => fuzz::run(rest),
        ["tidy"] => tidy::run(),
        ["dashboards"] => dashboards::run(codegen::Mode::Write),
        ["dashboards", "--check"] => dashboards::run(codegen::Mode::Check),
        ["codegen"] => codegen::run(codegen::Mode::Write),
        ["codegen", "--check"] => codegen::run(codegen::Mode::Check),
        ["bench", "orders", rest @ ..] => bench::orders(rest),
        ["bench", "engines", rest @ ..] => bench_engines::run(rest),
        ["bench", "analytics", rest @ ..] => analytics_bench::run(rest),
        ["bench", "metrics", rest @ ..] => prometheus::bench::run(rest),
        ["bench", "image", rest @ ..] => image_bench::run(rest),
        ["bench", "infra", rest @ ..] => infra_bench::run(rest),
        ["bench", "deploy", rest @ ..] => deploy_bench::run(rest),
        ["bench", "compare", rest @ ..] => compare::run(rest),
        [] | ["help" | "--help" | "-h"] => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        other => Err(format!("no such task: {}\n\n{HELP}", other.join(" "))),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("error: {reason}");
            ExitCode::FAILURE
        }
    }
}

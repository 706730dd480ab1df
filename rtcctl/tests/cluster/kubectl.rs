//! The real kubectl reads what rtcctl wrote, runs it for a token, and sends that token.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};

use eks::testing::{Aws, CLUSTER};
use serde_json::Value;

use crate::ground::{Ground, printed, program};

/// An API server as far as a version: over TLS, since kubectl shows no token to others, and with a note of each token.
const API: &str = "import http.server, ssl, sys
class Api(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def do_GET(self):
        open('tokens', 'a').write(self.headers.get('Authorization', 'none') + '\\n')
        body = b'{\"major\": \"1\", \"minor\": \"33\", \"gitVersion\": \"v1.33.4\", \"platform\": \"linux/amd64\"}'
        self.send_response(200)
        self.send_header('Content-Type', 'application/json')
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *arguments):
        pass
server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Api)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain('cert.pem', 'key.pem')
server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_address[1], flush=True)
sys.stdin.close()
server.serve_forever()
";

struct Api {
    process: Child,
    url: String,
}

impl Drop for Api {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Api {
    /// Starts one with a certificate of its own making.
    fn start(ground: &Ground) -> Self {
        let mut openssl = ground.command(&program("openssl"));
        openssl.args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "2",
        ]);
        openssl.args(["-keyout", "key.pem", "-out", "cert.pem", "-subj", "/CN=kubernetes"]);
        printed(openssl.args(["-addext", "subjectAltName=IP:127.0.0.1"]));
        let mut python = ground.command(&program("python3"));
        let mut process =
            python.args(["-c", API]).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut port = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut port).unwrap();
        Self { process, url: format!("https://127.0.0.1:{}", port.trim()) }
    }
}

fn ca_base64(ground: &Ground) -> String {
    printed(ground.command(&program("openssl")).args(["base64", "-A", "-in", "cert.pem"])).trim().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kubectl_signs_in_with_a_token_of_rtcctl() {
    let kubectl = program("kubectl");
    let aws = Aws::start().await;
    let ground = Ground::on(aws.url());
    let api = Api::start(&ground);
    aws.change(&format!("GET /clusters/{CLUSTER}"), |body| {
        body["cluster"]["endpoint"] = api.url.clone().into();
        body["cluster"]["certificateAuthority"]["data"] = ca_base64(&ground).into();
    });
    let written = ground.document(&["cluster", "kubeconfig", "--cluster", CLUSTER, "--kubeconfig", "kube"]);
    assert_eq!(
        (written["findings"].as_array().map(Vec::len), &written["data"]["is_written"]),
        (Some(0), &true.into())
    );
    let kubectl = |words: &[&str]| {
        let mut command = ground.command(&kubectl);
        printed(command.args(["--kubeconfig", "kube"]).args(words))
    };
    // It is read, and the context is the one that is used.
    let view: Value = serde_json::from_str(&kubectl(&["config", "view", "-o", "json"])).unwrap();
    assert_eq!(view["current-context"], CLUSTER);
    assert_eq!(view["users"][0]["user"]["exec"]["command"], "rtcctl");
    assert_eq!(kubectl(&["config", "get-contexts", "-o", "name"]).trim(), CLUSTER);
    kubectl(&["version", "--client"]);
    // It is used: the program is run, and its token sent.
    assert!(kubectl(&["get", "--raw", "/version"]).contains("v1.33.4"));
    let tokens = std::fs::read_to_string(ground.path("tokens")).unwrap();
    let token = tokens.lines().next().unwrap();
    assert!(token.starts_with("Bearer k8s-aws-v1."), "{token}");
    // What kubectl changes stays when rtcctl comes again, and the other way round.
    kubectl(&["config", "set-context", "home", "--cluster", "x", "--user", "y", "--namespace", "z"]);
    kubectl(&["config", "set-context", CLUSTER, "--namespace", "rtc"]);
    let again = ground.document(&["cluster", "kubeconfig", "--cluster", CLUSTER, "--kubeconfig", "kube"]);
    assert_eq!(again["data"]["is_changed"], false);
    let more = [
        "cluster",
        "kubeconfig",
        "--cluster",
        CLUSTER,
        "--kubeconfig",
        "kube",
        "--alias",
        "shop",
        "--set-current",
    ];
    ground.document(&more);
    let names = kubectl(&["config", "get-contexts", "-o", "name"]);
    let names: Vec<&str> = names.lines().collect();
    assert_eq!(names, ["home", CLUSTER, "shop"]);
    assert_eq!(kubectl(&["config", "current-context"]).trim(), "shop");
    let view: Value = serde_json::from_str(&kubectl(&["config", "view", "-o", "json"])).unwrap();
    let contexts = view["contexts"].as_array().unwrap();
    let own = contexts.iter().find(|context| context["name"] == CLUSTER).unwrap();
    assert_eq!(own["context"]["namespace"], "rtc");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kubectl_says_why_there_is_no_token() {
    let kubectl = program("kubectl");
    let aws = Aws::start().await;
    let ground = Ground::on(aws.url());
    let api = Api::start(&ground);
    aws.change(&format!("GET /clusters/{CLUSTER}"), |body| {
        body["cluster"]["endpoint"] = api.url.clone().into();
        body["cluster"]["certificateAuthority"]["data"] = ca_base64(&ground).into();
    });
    ground.document(&["cluster", "kubeconfig", "--cluster", CLUSTER, "--kubeconfig", "kube"]);
    std::fs::write(ground.path("aws"), "[default]\nregion = ap-northeast-2\n").unwrap();
    let output =
        ground.command(&kubectl).args(["--kubeconfig", "kube", "get", "--raw", "/version"]).output().unwrap();
    let talk = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && talk.contains("CLU003") && talk.contains("aws sso login"), "{talk}");
    assert!(!ground.path("tokens").exists(), "nothing was asked without a token");
}

#[test]
fn without_credentials_it_is_said_at_once_what_to_do() {
    let ground = Ground::on("http://127.0.0.1:1");
    std::fs::write(ground.path("aws"), "[default]\nregion = ap-northeast-2\n").unwrap();
    for words in [
        &["cluster", "token", "--cluster", "rtc"][..],
        &["cluster", "info", "--cluster", "rtc"],
        &["cluster", "list"],
    ] {
        let (exit, error) = ground.error(words);
        assert_eq!((exit, error["code"].as_str()), (Some(4), Some("CLU003")), "{error}");
    }
    let sso = "[profile shop]\nregion = ap-northeast-2\nsso_session = s\nsso_account_id = 123456789012\nsso_role_name = r\n\
               [sso-session s]\nsso_region = ap-northeast-2\nsso_start_url = https://example.awsapps.com/start\n";
    std::fs::write(ground.path("aws"), sso).unwrap();
    let (exit, error) = ground.error(&["cluster", "token", "--cluster", "rtc", "--aws-profile", "shop"]);
    assert_eq!(exit, Some(4), "{error}");
    assert_eq!(error["hints"][0], "aws sso login --profile shop", "{error}");
    std::fs::write(ground.path("aws"), "").unwrap();
    let (exit, error) = ground.error(&["cluster", "list"]);
    assert_eq!((exit, error["code"].as_str()), (Some(3), Some("CLU008")), "{error}");
}

/// Whose key signed what `rtcctl cluster token` prints.
fn signer(ground: &Ground, words: &[&str], variables: &[(&str, &str)]) -> String {
    const READ: &str = "import base64, sys, urllib.parse\n\
        text = sys.argv[1].split('.', 1)[1]\n\
        url = base64.urlsafe_b64decode(text + '=' * (-len(text) % 4)).decode()\n\
        print(urllib.parse.parse_qs(url.split('?')[1])['X-Amz-Credential'][0].split('/')[0])";
    let mut rtcctl = ground.command(std::path::Path::new(env!("CARGO_BIN_EXE_rtcctl")));
    rtcctl
        .args(["cluster", "token", "--raw", "--cluster", "rtc"])
        .args(words)
        .envs(variables.iter().copied());
    let token = printed(&mut rtcctl);
    printed(ground.command(&program("python3")).args(["-c", READ, token.trim()])).trim().to_owned()
}

#[test]
fn a_profile_that_is_named_is_meant_whatever_keys_are_in_variables() {
    let ground = Ground::on("http://127.0.0.1:1");
    let mut config = std::fs::read_to_string(ground.path("aws")).unwrap();
    config.push_str(
        "[profile shop]\nregion = ap-northeast-2\naws_access_key_id = AKIDSHOP\naws_secret_access_key = x\n",
    );
    std::fs::write(ground.path("aws"), config).unwrap();
    let variables = [("AWS_ACCESS_KEY_ID", "AKIDVARIABLE"), ("AWS_SECRET_ACCESS_KEY", "y")];
    assert_eq!(signer(&ground, &[], &[]), "AKIDEXAMPLE");
    assert_eq!(signer(&ground, &[], &variables), "AKIDVARIABLE");
    assert_eq!(signer(&ground, &["--aws-profile", "shop"], &variables), "AKIDSHOP");
    assert_eq!(signer(&ground, &["--aws-profile", "shop"], &[]), "AKIDSHOP");
}

#[test]
fn an_aws_that_is_not_there_is_told() {
    let ground = Ground::on("http://127.0.0.1:1");
    let (exit, error) = ground.error(&["cluster", "info", "--cluster", "rtc"]);
    assert_eq!((exit, error["code"].as_str()), (Some(9), Some("CLU007")), "{error}");
}

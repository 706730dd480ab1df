//! Who may sign in, and how much that is worth.

use serde_json::json;

use crate::testing::{Aws, CLUSTER, OPERATOR};
use crate::{Admission, Identity, Kind, Policy};

fn identity(arn: &str) -> Identity {
    Identity { arn: arn.to_owned() }
}

#[test]
fn a_session_is_that_of_its_role_whatever_the_path_of_the_role() {
    let session = identity("arn:aws:sts::111122223333:assumed-role/operator/somebody");
    for (principal, is_ours) in [
        ("arn:aws:iam::111122223333:role/operator", true),
        ("arn:aws:iam::111122223333:role/teams/shop/operator", true),
        ("arn:aws:iam::111122223333:role/operator/other", false),
        ("arn:aws:iam::111122223333:role/co-operator", false),
        ("arn:aws:iam::444455556666:role/operator", false),
        ("arn:aws-cn:iam::111122223333:role/operator", false),
        ("arn:aws:iam::111122223333:user/operator", false),
    ] {
        assert_eq!(session.is(principal), is_ours, "{principal}");
    }
    assert_eq!(session.principal(), "arn:aws:iam::111122223333:role/operator");
    let user = identity("arn:aws:iam::111122223333:user/ops/me");
    assert!(
        user.is("arn:aws:iam::111122223333:user/ops/me") && !user.is("arn:aws:iam::111122223333:user/me")
    );
    assert_eq!(user.principal(), user.arn);
}

#[test]
fn a_policy_holds_in_the_namespaces_of_its_scope() {
    let policy = |namespaces: &[&str]| Policy {
        name: "AmazonEKSEditPolicy".to_owned(),
        namespaces: namespaces.iter().map(|name| (*name).to_owned()).collect(),
    };
    for (namespaces, holds) in
        [(&[][..], true), (&["rtc"], true), (&["other", "r*"], true), (&["*-dev"], false), (&["rt"], false)]
    {
        assert_eq!(policy(namespaces).holds_in("rtc"), holds, "{namespaces:?}");
    }
    assert!(policy(&["rtc-*-dev"]).holds_in("rtc-shop-dev"));
}

#[tokio::test]
async fn an_entry_is_found_with_what_it_grants() {
    let aws = Aws::start().await;
    let eks = aws.eks();
    let us = eks.identity().await.unwrap();
    assert!(us.is(OPERATOR), "{us:?}");
    let Admission::Entry(entry) = eks.admission(CLUSTER, &us).await.unwrap() else { panic!("no entry") };
    assert_eq!((entry.principal.as_str(), entry.kind.as_str()), (OPERATOR, "STANDARD"));
    let policy = Policy { name: "AmazonEKSClusterAdminPolicy".to_owned(), namespaces: Vec::new() };
    assert_eq!((entry.policies, entry.groups), (vec![policy], vec!["shop".to_owned()]));
    let stranger = identity("arn:aws:sts::123456789012:assumed-role/stranger/x");
    assert_eq!(eks.admission(CLUSTER, &stranger).await.unwrap(), Admission::NoEntry { entries: 2 });
}

#[tokio::test]
async fn a_cluster_without_entries_and_one_that_may_not_be_asked_are_told_apart() {
    let aws = Aws::start().await;
    let us = aws.eks().identity().await.unwrap();
    aws.refuse(&format!("GET /clusters/{CLUSTER}/access-entries"), 403, "AccessDeniedException", "no");
    assert_eq!(aws.eks().admission(CLUSTER, &us).await.unwrap_err().kind, Kind::Denied);
    aws.change(&format!("GET /clusters/{CLUSTER}"), |body| {
        body["cluster"]["accessConfig"] = json!({"authenticationMode": "CONFIG_MAP"});
    });
    assert_eq!(aws.eks().admission(CLUSTER, &us).await.unwrap(), Admission::ConfigMap);
    aws.refuse("sts GetCallerIdentity", 403, "ExpiredToken", "the token has expired");
    assert_eq!(aws.eks().identity().await.unwrap_err().kind, Kind::Unauthenticated);
}

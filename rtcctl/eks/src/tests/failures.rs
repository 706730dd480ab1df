//! Each way in which AWS does not answer, by what an operator can do about it.

use crate::testing::{Aws, CLUSTER};
use crate::{Eks, Kind};

#[tokio::test]
async fn each_refusal_is_of_its_kind() {
    for (status, code, kind) in [
        (404, "ResourceNotFoundException", Kind::NotFound),
        (403, "AccessDeniedException", Kind::Denied),
        (400, "UnrecognizedClientException", Kind::Unauthenticated),
        (400, "ExpiredTokenException", Kind::Unauthenticated),
        (403, "InvalidSignatureException", Kind::Unauthenticated),
        (429, "ThrottlingException", Kind::Throttled),
        (503, "ServiceUnavailableException", Kind::Fault),
        (500, "ServerException", Kind::Fault),
        (400, "InvalidParameterException", Kind::Invalid),
    ] {
        let aws = Aws::start().await;
        aws.refuse(&format!("GET /clusters/{CLUSTER}"), status, code, "because");
        let error = aws.eks().describe(CLUSTER).await.unwrap_err();
        assert_eq!((error.kind, error.operation), (kind, "eks:DescribeCluster"), "{code}: {error}");
        assert!(error.message.contains("because"), "{error}");
    }
}

#[tokio::test]
async fn nobody_at_the_address_is_told_as_that() {
    let aws = Aws::start().await;
    let config = aws.config().into_builder().endpoint_url("http://127.0.0.1:1").build();
    let error = Eks::new(&config).describe(CLUSTER).await.unwrap_err();
    assert_eq!(error.kind, Kind::Unreachable, "{error}");
}

#[tokio::test]
async fn a_cluster_that_is_being_made_has_no_api() {
    let aws = Aws::start().await;
    aws.change(&format!("GET /clusters/{CLUSTER}"), |body| {
        body["cluster"]["status"] = "CREATING".into();
        body["cluster"].as_object_mut().unwrap().remove("endpoint");
    });
    let error = aws.eks().describe(CLUSTER).await.unwrap_err();
    assert_eq!(error.kind, Kind::Conflict);
    assert!(error.message.contains("it is CREATING"), "{error}");
    // It is looked at all the same.
    assert_eq!(aws.eks().cluster(CLUSTER).await.unwrap().url, None);
}

#[tokio::test]
async fn a_certificate_that_is_none_is_not_believed() {
    let aws = Aws::start().await;
    aws.change(&format!("GET /clusters/{CLUSTER}"), |body| {
        body["cluster"]["certificateAuthority"]["data"] = "%%%".into();
    });
    assert_eq!(aws.eks().describe(CLUSTER).await.unwrap_err().kind, Kind::Fault);
}

#[tokio::test]
async fn a_name_that_no_cluster_has_is_not_asked_for() {
    let aws = Aws::start().await;
    assert_eq!(aws.eks().describe("../x").await.unwrap_err().kind, Kind::Invalid);
    assert!(aws.take_asked().is_empty());
}

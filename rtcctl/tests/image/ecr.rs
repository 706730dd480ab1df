//! ECR's own API, as moto has it: tokens, repositories as they should be, what a lifecycle deletes, findings.

use ecr::scan::State;
use ecr::{Difference, Ecr, Ensured, Kept, Kind, Lifecycle, Scan, Tags, Wanted};
use kernel::Timestamp;

use crate::ground::{told, unique};

/// Where it is and who we are is in variables, as for every client of AWS.
async fn moto() -> Ecr {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    told("AWS_ENDPOINT_URL");
    let place = aws::Place { region: Some("ap-northeast-2".to_owned()), profile: None };
    Ecr::new(&aws::configure(&place).await.unwrap(), None)
}

fn wanted(name: &str) -> Wanted {
    Wanted {
        name: name.to_owned(),
        tags: Tags::Immutable,
        scan: Scan::OnPush,
        lifecycle: Some(Lifecycle { untagged_days: 7, kept: 50 }),
        key: None,
    }
}

#[tokio::test]
async fn a_token_is_had_and_never_shown() {
    let ecr = moto().await;
    let token = ecr.token().await.unwrap();
    assert!(token.header().starts_with("Basic "));
    // moto's tokens have long expired; that the time is read is what can be seen here.
    assert!(token.expires_at > Timestamp::from_millis(0));
    assert!(!format!("{token:?}").contains(token.header().trim_start_matches("Basic ")));
    assert_eq!((token.host.account.len(), token.host.region.as_str()), (12, "ap-northeast-2"));
}

#[tokio::test]
async fn a_repository_is_made_once_and_what_differs_is_told_and_left() {
    let ecr = moto().await;
    let made = wanted(&unique());
    assert_eq!(ecr.ensure_repository(&made).await.unwrap(), Ensured::Created(Kept::Put));
    assert_eq!(ecr.ensure_repository(&made).await.unwrap(), Ensured::Existed(Vec::new()));
    let other = Wanted {
        tags: Tags::Mutable,
        scan: Scan::OnRequest,
        lifecycle: Some(Lifecycle { untagged_days: 1, kept: 50 }),
        ..made.clone()
    };
    let Ensured::Existed(differences) = ecr.ensure_repository(&other).await.unwrap() else {
        panic!("it was made")
    };
    let what: Vec<&str> = differences.iter().map(|Difference { what, .. }| *what).collect();
    assert_eq!(what, ["tags", "scan", "lifecycle"]);
    // Nothing was changed by looking.
    assert_eq!(ecr.ensure_repository(&made).await.unwrap(), Ensured::Existed(Vec::new()));
}

#[tokio::test]
async fn a_lifecycle_comes_to_a_repository_of_ours_that_has_none() {
    let ecr = moto().await;
    let bare = Wanted { lifecycle: None, ..wanted(&unique()) };
    assert_eq!(ecr.ensure_repository(&bare).await.unwrap(), Ensured::Created(Kept::AsItIs));
    let lifecycle = Lifecycle { untagged_days: 7, kept: 50 };
    assert_eq!(ecr.ensure_lifecycle(&bare.name, &lifecycle).await.unwrap(), Kept::Put);
    assert_eq!(ecr.ensure_lifecycle(&bare.name, &lifecycle).await.unwrap(), Kept::AsItIs);
    assert!(ecr.lifecycle_policy(&bare.name).await.unwrap().is_some());
}

#[tokio::test]
async fn images_are_listed_and_deleted_and_a_repository_that_is_not_there_is_told_so() {
    let ecr = moto().await;
    ecr.ensure_repository(&wanted("rtc-test/images")).await.unwrap();
    assert_eq!(ecr.images("rtc-test/images").await.unwrap(), []);
    let absent = ecr.images("rtc-test/absent").await.unwrap_err();
    assert_eq!((absent.kind, absent.code.as_deref()), (Kind::NotFound, Some("RepositoryNotFoundException")));
    let digest = format!("sha256:{}", "0".repeat(64));
    let deleted = ecr.delete_images("rtc-test/images", std::slice::from_ref(&digest)).await.unwrap();
    assert_eq!((deleted.digests.len(), deleted.kept.len()), (0, 1), "{deleted:?}");
}

#[tokio::test]
async fn an_image_that_was_never_scanned_has_no_findings() {
    let ecr = moto().await;
    ecr.ensure_repository(&wanted("rtc-test/scans")).await.unwrap();
    let digest = format!("sha256:{}", "0".repeat(64));
    match ecr.findings("rtc-test/scans", &digest).await {
        Ok(None) => {}
        Ok(Some(found)) => assert_ne!(found.state, State::Done),
        Err(error) => assert_eq!(error.kind, Kind::NotFound, "{error}"),
    }
}

//! Real sales into a running platform.

use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::platform::{Platform, root, rtcctl, seeded};

/// The six days of the UCI "Online Retail" data set, where they are at hand beside the workspace.
pub fn six_days() -> Option<Vec<PathBuf>> {
    let folder = root()
        .ancestors()
        .map(|folder| folder.join("shared/data/online-retail"))
        .find(|folder| folder.is_dir())?;
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "csv"));
    files.sort();
    Some(files)
}

/// Two small days of our own, for where the data set is not at hand.
pub fn two_days(folder: &Path) -> Vec<PathBuf> {
    let header = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n";
    let days = [
        "1,TEA,GREEN TEA,2,2010-12-01 08:26:00,2.55,17850.0,United Kingdom\n\
         1,TEA,GREEN TEA,2,2010-12-01 08:26:00,2.55,17850.0,United Kingdom\n",
        "C2,TEA,GREEN TEA,-1,2010-12-02 08:26:00,2.55,17850.0,France\n3,CUP,CUP,4,2010-12-02 09:00:00,0.85,,France\n",
    ];
    let write = |(n, day): (usize, &&str)| {
        let file = folder.join(format!("day{n}.csv"));
        std::fs::write(&file, format!("{header}{day}")).unwrap();
        file
    };
    days.iter().enumerate().map(write).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn real_sales_are_counted_to_the_penny_and_a_second_run_changes_nothing() {
    let directory = seeded().await;
    let data = directory.path().join("data");
    let platform = Platform::start(&data).await;
    let (files, wanted) = match six_days() {
        Some(files) => (files, (16_985, 757, 79, 2_334, 28_076_648_i64)),
        None => (two_days(directory.path()), (4, 3, 1, 2, 510 * 2 - 255 + 340)),
    };
    let names: Vec<&str> = files.iter().map(|file| file.to_str().unwrap()).collect();
    let arguments: Vec<&str> = ["replay"].into_iter().chain(names).chain(["-o", "json"]).collect();
    let (lines, invoices, cancellations, stock_codes, pence) = wanted;
    for run in ["first", "second"] {
        let report = rtcctl(&data, &arguments).await.expect(0).json();
        let found = &report["data"];
        assert_eq!(found["lines"], lines, "{run}: {found}");
        assert_eq!(found["invoices"], invoices, "{run}");
        assert_eq!(found["cancellations"], cancellations, "{run}");
        assert_eq!(found["stock_codes"], stock_codes, "{run}");
        assert_eq!(found["totals"], json!([{ "amount": pence, "currency": "GBP" }]), "{run}");
        let accepted = if run == "first" { lines } else { 0 };
        assert_eq!(found["accepted"], accepted, "{run}: {found}");
        assert_eq!(found["duplicates"], lines - accepted, "{run}: {found}");
        let totals = api_totals(&platform).await;
        assert_eq!(totals["lines"], lines, "{run}: {totals}");
        assert_eq!(totals["invoices"], invoices, "{run}");
        assert_eq!(totals["cancellations"], cancellations, "{run}");
        assert_eq!(totals["stock_codes"], stock_codes, "{run}");
        assert_eq!(totals["totals"], json!([{ "amount": pence, "currency": "GBP" }]), "{run}");
    }
    assert_eq!(platform.stop().await, 0);
}

async fn api_totals(platform: &Platform) -> serde_json::Value {
    let password = std::fs::read_to_string(platform.data.join("secrets/admin_password")).unwrap();
    let client = reqwest::Client::builder().timeout(std::time::Duration::from_secs(30)).build().unwrap();
    let url = format!("{}/api/v1/sessions", platform.run["api_url"].as_str().unwrap());
    let body = json!({ "email": "admin@rtc.local", "password": password.trim() });
    let session: serde_json::Value = client.post(url).json(&body).send().await.unwrap().json().await.unwrap();
    let token = session["access_token"].as_str().unwrap();
    let (status, totals) =
        platform.get("api_url", "/api/v1/analytics/totals?source=online-retail", token).await;
    assert_eq!(status, 200, "{totals}");
    totals
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn malformed_lines_are_named_and_counted_and_stop_nothing() {
    let directory = seeded().await;
    let data = directory.path().join("data");
    let platform = Platform::start(&data).await;
    let header =
        b"InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n".as_slice();
    let good = b"9,TEA,TEA,1,2010-12-01 08:26:00,1.00,1.0,France\n".as_slice();
    let file = directory.path().join("bad.csv");
    let mut out = std::io::BufWriter::new(std::fs::File::create(&file).unwrap());
    out.write_all(header).unwrap();
    out.write_all(good).unwrap();
    out.write_all(b"9,TEA,caf\xe9,1,2010-12-01 08:26:00,1.00,1.0,France\n").unwrap();
    out.write_all(b"9,TEA\n").unwrap();
    out.write_all(b"9;TEA;TEA;1;2010-12-01 08:26:00;1.00;1.0;France\n").unwrap();
    out.write_all(b"9,TEA,").unwrap();
    for _ in 0..100 {
        out.write_all(&vec![b'x'; 1_000_000]).unwrap();
    }
    out.write_all(b",1,2010-12-01 08:26:00,1.00,1.0,France\n").unwrap();
    out.write_all(good).unwrap();
    out.into_inner().unwrap().sync_all().unwrap();
    let semicolons = directory.path().join("semicolons.csv");
    std::fs::write(&semicolons, "InvoiceNo;StockCode;Quantity\n1;TEA;1\n").unwrap();
    let missing = directory.path().join("none.csv");
    let [file, semicolons, missing] = [&file, &semicolons, &missing].map(|path| path.to_str().unwrap());
    let ended = rtcctl(&data, &["replay", file, semicolons, missing, "--source", "bad", "-o", "json"]).await;
    let report = ended.expect(40).json();
    assert_eq!(report["data"]["accepted"], 2, "{}", report["data"]);
    assert!(report["data"]["malformed"].as_u64().unwrap() >= 4, "{}", report["data"]);
    let findings = report["findings"].as_array().unwrap();
    let said = |line: &str| findings.iter().any(|finding| finding.to_string().contains(line));
    for place in ["bad.csv:3", "bad.csv:4", "bad.csv:5", "bad.csv:6", "semicolons.csv", "none.csv"] {
        assert!(said(place), "{place}: {findings:?}");
    }
    assert_eq!(platform.stop().await, 0);
}

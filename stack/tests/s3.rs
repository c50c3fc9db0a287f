//! The S3 server is strict where a loader leans on it.

#![allow(clippy::unwrap_used)] // a test from end to end

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, future::join_all};
use object_store::{
    Error, ObjectStore, ObjectStoreExt, PutMode, PutOptions,
    aws::{AmazonS3, AmazonS3Builder},
    path::Path,
};
use stack::s3::{Keys, REGION, S3};

fn client(s3: &S3, keys: &Keys) -> AmazonS3 {
    let builder = AmazonS3Builder::new().with_endpoint(s3.endpoint()).with_allow_http(true).with_region(REGION);
    builder
        .with_bucket_name(s3.bucket())
        .with_access_key_id(&keys.id)
        .with_secret_access_key(&keys.secret)
        .build()
        .unwrap()
}

fn run(test: impl AsyncFn(S3)) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let s3 = S3::start("bucket").unwrap();
    runtime.block_on(test(s3));
}

#[test]
fn of_many_creates_of_one_key_one_wins() {
    run(async |s3| {
        let store = Arc::new(client(&s3, s3.owner()));
        for round in 0..20 {
            let key = Path::from(format!("race/{round}"));
            let puts = (0..20).map(|i| {
                let (store, key) = (store.clone(), key.clone());
                async move { store.put_opts(&key, format!("{i}").into(), PutOptions::from(PutMode::Create)).await }
            });
            let results = join_all(puts).await;
            assert_eq!(results.iter().filter(|r| r.is_ok()).count(), 1, "round {round}");
            assert!(results.iter().flat_map(|r| r.as_ref().err()).all(|e| matches!(e, Error::AlreadyExists { .. })));
        }
        std::mem::forget(s3); // its runtime may not be dropped inside another one
    });
}

#[test]
fn listing_has_pages_and_parts_become_one_object() {
    run(async |s3| {
        let store = client(&s3, s3.owner());
        let keys: Vec<Path> = (0..2300).map(|i| Path::from(format!("l/e={i:05}"))).collect();
        futures::stream::iter(&keys)
            .map(|key| store.put(key, "x".into()))
            .buffer_unordered(16)
            .try_collect::<Vec<_>>()
            .await
            .unwrap();
        let listed: Vec<_> = store.list(Some(&"l".into())).try_collect().await.unwrap();
        assert_eq!(listed.iter().map(|m| m.location.clone()).collect::<Vec<_>>(), keys);
        assert!(listed.iter().all(|m| m.e_tag.is_some()));

        let mut upload = store.put_multipart(&"big".into()).await.unwrap();
        for part in [vec![1u8; 6 << 20], vec![2u8; 10]] {
            upload.put_part(part.into()).await.unwrap();
        }
        assert!(
            matches!(store.head(&"big".into()).await, Err(Error::NotFound { .. })),
            "nothing is there before it completes"
        );
        let etag = upload.complete().await.unwrap().e_tag.unwrap();
        let found = store.head(&"big".into()).await.unwrap();
        assert_eq!((found.size, found.e_tag), ((6 << 20) + 10, Some(etag)));
        std::mem::forget(s3);
    });
}

#[test]
fn keys_open_what_they_are_for() {
    run(async |s3| {
        let owner = client(&s3, s3.owner());
        owner.put(&"k".into(), "v".into()).await.unwrap();
        let reader = client(&s3, s3.reader());
        assert_eq!(reader.get(&"k".into()).await.unwrap().bytes().await.unwrap(), "v");
        assert!(matches!(reader.put(&"k".into(), "w".into()).await, Err(Error::PermissionDenied { .. })));
        assert!(matches!(reader.delete(&"k".into()).await, Err(Error::PermissionDenied { .. })));
        let nobody = client(&s3, &Keys { id: s3.owner().id.clone(), secret: "wrong".into() });
        assert!(matches!(nobody.get(&"k".into()).await, Err(Error::PermissionDenied { .. })));
        std::mem::forget(s3);
    });
}

#[test]
fn a_bucket_is_reached_in_its_own_region_alone() {
    run(async |s3| {
        s3.store().make_bucket("north", "eu-north-1");
        let client = |bucket: &str, region: &str| {
            let builder = AmazonS3Builder::new().with_endpoint(s3.endpoint()).with_allow_http(true);
            let builder = builder.with_region(region).with_bucket_name(bucket);
            builder.with_access_key_id(&s3.owner().id).with_secret_access_key(&s3.owner().secret).build().unwrap()
        };
        let put = async |bucket: &str, region: &str| client(bucket, region).put(&"k".into(), "x".into()).await;
        put("north", "eu-north-1").await.unwrap();
        put("bucket", REGION).await.unwrap();
        for (bucket, region) in [("north", REGION), ("bucket", "eu-north-1")] {
            let refused = put(bucket, region).await.unwrap_err();
            assert!(format!("{refused:?}").contains("BareRedirect"), "{refused:?}");
        }
        assert!(matches!(client("nothing", "eu-north-1").get(&"k".into()).await, Err(Error::NotFound { .. })));
        std::mem::forget(s3);
    });
}

//! A region that is wrong: the bucket's in the job file, and the bucket itself for the cluster. S3 and Redshift say which it is.

use harness::world::{STACK, World};

#[test]
fn a_wrong_region_is_named_with_the_right_one() {
    let mut world = World::new("region", 1);
    let job = world.own_job().display().to_string();
    let told = "write region = \"us-east-1\" in [staging]";

    world.env.push(("AWS_REGION".into(), "eu-north-1".into()));
    let (code, said, wrong) = world.finish(&["check", &job]);
    assert_eq!(code, Some(4), "{said}{wrong}");
    assert!(said.contains("finding[TG-1010]: staging.region, endpoint: ") && said.contains(told), "{said}");
    assert!(said.contains("not checked: whether Redshift may read what is staged"), "{said}");
    let (code, _, said) = world.finish(&["run", &job, "--until-caught-up"]);
    assert!(code == Some(3) && said.contains(told), "{code:?} {said}");

    // The bucket is where the job file says, and that is not where the cluster is.
    STACK.s3.store().make_bucket("far-away", "eu-north-1");
    world.env.push(("S3_BUCKET".into(), "far-away".into()));
    let (code, said, wrong) = world.finish(&["check", &job]);
    assert_eq!(code, Some(4), "{said}{wrong}");
    let refused = "The S3 bucket addressed by the query is in a different region from this cluster.";
    assert!(said.contains("finding[TG-1010]: staging.url: ") && said.contains(refused), "{said}");
    let (code, _, said) = world.finish(&["run", &job, "--until-caught-up"]);
    assert!(code == Some(3) && said.contains(refused), "{code:?} {said}");
    assert!(said.contains("let `staging.url` name a bucket in the region of Redshift"), "{said}");
}

//! What a store of objects promises.

use super::trouble::{Trouble, did_not};
use crate::{Fault, Happened, Objects};

/// An empty store of objects.
pub fn objects(objects: &dyn Objects) {
    let key = "job/f/g=1-0/e=1/t=0/w=0-a.parquet";
    assert_eq!(objects.get(key).unwrap(), None);
    objects.delete(&[key]).unwrap();
    objects.put(key, "abc".into()).unwrap();
    assert_eq!(objects.get(key).unwrap().as_deref(), Some(&b"abc"[..]));
    // The same again is our own earlier try; another length is somebody else's object.
    objects.put(key, "abc".into()).unwrap();
    assert_eq!(objects.put(key, "abcd".into()).unwrap_err().fault, Fault::Bug);
    assert_eq!(objects.get(key).unwrap().as_deref(), Some(&b"abc"[..]));
    assert!(objects.url(key).starts_with("s3://") && objects.url(key).ends_with(key));
    objects.put("empty", "".into()).unwrap();
    // All that is in a folder, and nothing of one whose name begins alike.
    let others = ["job/f/g=1-0/e=2/t=0/w=0-b.parquet", "job/f/g=10-0/e=2/t=0/w=0-c.parquet"];
    others.iter().for_each(|other| objects.put(other, "x".into()).unwrap());
    let listed = |folder: &str| {
        let mut keys = Vec::new();
        let mut each = |key: &str| {
            keys.push(key.to_string());
            Ok(())
        };
        objects.list(folder, &mut each).unwrap();
        keys.sort();
        keys
    };
    assert_eq!(listed("job/f/g=1-0"), [key, others[0]]);
    assert_eq!(listed("job/f").len(), 3);
    assert_eq!(listed("no"), [""; 0]);
    // One level of it, where an object and a folder of one name are two things.
    let children = |folder: &str| objects.children(folder).unwrap();
    objects.put("job/f/generation=1", "x".into()).unwrap();
    objects.put("job/f/g=1-0", "x".into()).unwrap();
    assert_eq!(children("job"), ["f/"]);
    assert_eq!(children("job/f"), ["g=1-0", "g=1-0/", "g=10-0/", "generation=1"]);
    assert_eq!(children("job/f/g=1-0/e=2/t=0"), ["w=0-b.parquet"]);
    for none in ["no", "jo", "job/f/generation=1"] {
        assert_eq!(children(none), [""; 0], "{none}");
    }
    objects.delete(&[key]).unwrap();
    assert_eq!(objects.get(key).unwrap(), None);
    assert_eq!(objects.get("empty").unwrap().as_deref(), Some(&b""[..]));
    // More than a request takes, and one of them not there.
    let many: Vec<String> = (0..1_100).map(|n| format!("job/many/{n}")).collect();
    many.iter().skip(1).step_by(40).for_each(|key| objects.put(key, "x".into()).unwrap());
    objects.put(&many[1_099], "x".into()).unwrap();
    assert_eq!(listed("job/many").len(), 29);
    objects.delete(&many.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
    assert_eq!(listed("job/many"), [""; 0]);
    objects.delete(&[]).unwrap();
}

/// Objects on whose way accidents happen, once each time `cause` is called: an object is there whole, however often it is
/// written, and whoever could not write it may try again.
pub fn troubled_objects(objects: &dyn Objects, cause: &mut dyn FnMut(Trouble)) {
    for (n, trouble) in [Trouble::Before, Trouble::AnswerLost].into_iter().enumerate() {
        let key = format!("job/f/g=1-0/e={n}/t=0/w=0-troubled.parquet");
        let body = "x".repeat(100 + n);
        cause(trouble);
        match objects.put(&key, body.clone().into()) {
            Ok(()) => {}
            Err(error) => {
                assert!(error.is_retriable(), "{trouble:?}: {error:?}");
                assert_eq!(error.happened == Happened::No, trouble == Trouble::Before, "{trouble:?}: {error:?}");
            }
        }
        objects.put(&key, body.clone().into()).unwrap();
        assert_eq!(objects.get(&key).unwrap().as_deref(), Some(body.as_bytes()), "{trouble:?}");
    }
}

/// A store that can do nothing, for this reason.
pub fn barred_objects(objects: &dyn Objects, fault: Fault) {
    let put = objects.put("job/barred", "abc".into()).unwrap_err();
    assert_eq!(put.fault, fault, "{put:?}");
    // Nobody knows what a request without an answer did.
    assert!(put.happened == Happened::No || fault == Fault::Outage, "{put:?}");
    did_not(&objects.list("job", &mut |key| panic!("{key}")).unwrap_err(), fault);
    did_not(&objects.children("job").unwrap_err(), fault);
    if fault == Fault::Missing {
        return; // in no bucket there is nothing to get, and nothing to delete
    }
    did_not(&objects.get("job/barred").unwrap_err(), fault);
    let delete = objects.delete(&["job/barred"]).unwrap_err();
    assert_eq!(delete.fault, fault, "{delete:?}");
    assert!(delete.happened == Happened::No || fault == Fault::Outage, "{delete:?}");
}

//! An S3 in memory, as strict as the real one where Tidegate leans on it: conditional writes decided under one lock, pages
//! of at most 1000 keys in key order, parts and their etags checked, nothing visible before a multipart upload completes.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use bytes::{Bytes, BytesMut};
use futures::TryStreamExt;
use md5::{Digest, Md5};
use s3s::{S3, S3Request, S3Response, S3Result, dto::*, s3_error};

use crate::hex::hex;

struct Entry {
    body: Bytes,
    etag: String,
    modified: SystemTime,
}

struct Upload {
    bucket: String,
    key: String,
    parts: BTreeMap<i32, (Bytes, String)>,
}

/// A bucket: the region that it is in, and its objects.
struct Bucket {
    region: String,
    objects: BTreeMap<String, Entry>,
}

#[derive(Default)]
struct State {
    buckets: HashMap<String, Bucket>,
    uploads: HashMap<String, Upload>,
    next_upload: u64,
}

/// Buckets and objects behind one lock.
#[derive(Default)]
pub struct Store(Mutex<State>);

/// The store as the server holds it.
pub(crate) struct Shared(pub(crate) Arc<Store>);

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state()
    }
}

fn md5(bytes: &[u8]) -> String {
    hex(&Md5::digest(bytes))
}

async fn collect(body: Option<StreamingBlob>) -> S3Result<Bytes> {
    let Some(body) = body else { return Err(s3_error!(IncompleteBody)) };
    let chunks = body.try_fold(BytesMut::new(), |mut all, chunk| async move {
        all.extend_from_slice(&chunk);
        Ok(all)
    });
    Ok(chunks.await.map_err(|e| s3_error!(IncompleteBody, "{e}"))?.freeze())
}

impl Store {
    /// Makes an empty bucket in a region.
    pub fn make_bucket(&self, name: &str, region: &str) {
        self.state().buckets.insert(name.into(), Bucket { region: region.into(), objects: BTreeMap::new() });
    }

    /// The region that a bucket is in.
    pub(crate) fn region(&self, bucket: &str) -> Option<String> {
        self.state().buckets.get(bucket).map(|bucket| bucket.region.clone())
    }

    /// All keys of a bucket with their sizes in bytes, in order.
    pub fn keys(&self, bucket: &str) -> Vec<(String, usize)> {
        let mut state = self.state();
        let objects = state.bucket(bucket).map(|b| b.iter().map(|(k, e)| (k.clone(), e.body.len())).collect());
        objects.unwrap_or_default()
    }

    /// The bytes of an object.
    pub fn get(&self, bucket: &str, key: &str) -> Option<Bytes> {
        self.state().object(bucket, key).ok().map(|e| e.body.clone())
    }

    /// Removes an object behind everybody's back. Says whether it was there.
    pub fn remove(&self, bucket: &str, key: &str) -> bool {
        self.state().bucket(bucket).is_ok_and(|b| b.remove(key).is_some())
    }

    /// A panic while the lock was held leaves whole entries behind, so the state stays good.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn bucket(&mut self, name: &str) -> S3Result<&mut BTreeMap<String, Entry>> {
        self.buckets.get_mut(name).map(|bucket| &mut bucket.objects).ok_or_else(|| s3_error!(NoSuchBucket))
    }

    fn object(&mut self, bucket: &str, key: &str) -> S3Result<&Entry> {
        self.bucket(bucket)?.get(key).ok_or_else(|| s3_error!(NoSuchKey))
    }

    /// The one place where an object becomes visible.
    fn write(
        &mut self,
        bucket: &str,
        key: &str,
        body: Bytes,
        etag: String,
        matches: Option<&IfMatch>,
        none: Option<&IfNoneMatch>,
    ) -> S3Result<()> {
        let bucket = self.bucket(bucket)?;
        let now = bucket.get(key);
        if none.is_some() && now.is_some() {
            return Err(s3_error!(PreconditionFailed, "At least one of the pre-conditions you specified did not hold"));
        }
        match (matches, now) {
            (Some(_), None) => return Err(s3_error!(NoSuchKey)),
            (Some(condition), Some(now)) if condition.as_etag().is_some_and(|e| e.value() != now.etag) => {
                return Err(s3_error!(
                    PreconditionFailed,
                    "At least one of the pre-conditions you specified did not hold"
                ));
            }
            _ => {}
        }
        bucket.insert(key.into(), Entry { body, etag, modified: SystemTime::now() });
        Ok(())
    }
}

#[async_trait::async_trait]
impl S3 for Shared {
    async fn put_object(&self, req: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        let input = req.input;
        let body = collect(input.body).await?;
        let etag = md5(&body);
        self.state().write(
            &input.bucket,
            &input.key,
            body,
            etag.clone(),
            input.if_match.as_ref(),
            input.if_none_match.as_ref(),
        )?;
        Ok(S3Response::new(PutObjectOutput { e_tag: Some(ETag::Strong(etag)), ..Default::default() }))
    }

    async fn get_object(&self, req: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        let input = req.input;
        let mut state = self.state();
        let entry = state.object(&input.bucket, &input.key)?;
        let full = entry.body.len() as u64;
        let (body, content_range) = match input.range {
            None => (entry.body.clone(), None),
            Some(range) => {
                let r = range.check(full).map_err(|_| s3_error!(InvalidRange))?;
                (
                    entry.body.slice(r.start as usize..r.end as usize),
                    Some(format!("bytes {}-{}/{full}", r.start, r.end - 1)),
                )
            }
        };
        Ok(S3Response::new(GetObjectOutput {
            content_length: Some(body.len() as i64),
            content_range,
            e_tag: Some(ETag::Strong(entry.etag.clone())),
            last_modified: Some(entry.modified.into()),
            body: Some(StreamingBlob::wrap(futures::stream::iter([Ok::<_, std::io::Error>(body)]))),
            ..Default::default()
        }))
    }

    async fn head_object(&self, req: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
        let mut state = self.state();
        let entry = state.object(&req.input.bucket, &req.input.key)?;
        Ok(S3Response::new(HeadObjectOutput {
            content_length: Some(entry.body.len() as i64),
            e_tag: Some(ETag::Strong(entry.etag.clone())),
            last_modified: Some(entry.modified.into()),
            ..Default::default()
        }))
    }

    async fn head_bucket(&self, req: S3Request<HeadBucketInput>) -> S3Result<S3Response<HeadBucketOutput>> {
        self.state().bucket(&req.input.bucket)?;
        Ok(S3Response::new(HeadBucketOutput::default()))
    }

    async fn delete_object(&self, req: S3Request<DeleteObjectInput>) -> S3Result<S3Response<DeleteObjectOutput>> {
        self.state().bucket(&req.input.bucket)?.remove(&req.input.key);
        Ok(S3Response::new(DeleteObjectOutput::default()))
    }

    async fn delete_objects(&self, req: S3Request<DeleteObjectsInput>) -> S3Result<S3Response<DeleteObjectsOutput>> {
        let mut state = self.state();
        let bucket = state.bucket(&req.input.bucket)?;
        let deleted = req.input.delete.objects.into_iter().map(|o| {
            bucket.remove(&o.key);
            DeletedObject { key: Some(o.key), ..Default::default() }
        });
        Ok(S3Response::new(DeleteObjectsOutput { deleted: Some(deleted.collect()), ..Default::default() }))
    }

    async fn list_objects_v2(&self, req: S3Request<ListObjectsV2Input>) -> S3Result<S3Response<ListObjectsV2Output>> {
        let input = req.input;
        let mut state = self.state();
        let prefix = input.prefix.clone().unwrap_or_default();
        let limit = input.max_keys.unwrap_or(1000).clamp(0, 1000) as usize;
        let after = input.continuation_token.clone().max(input.start_after.clone()).unwrap_or_default();
        let (mut contents, mut common_prefixes, mut last, mut more) =
            (Vec::new(), Vec::<CommonPrefix>::new(), None, false);
        for (key, entry) in state.bucket(&input.bucket)?.range(prefix.clone()..) {
            let Some(rest) = key.strip_prefix(&prefix) else { break };
            let folded = input
                .delimiter
                .as_deref()
                .and_then(|d| rest.split_once(d).map(|(head, _)| format!("{prefix}{head}{d}")));
            let name = folded.as_deref().unwrap_or(key);
            if name <= after.as_str() || last.as_deref() == Some(name) {
                continue;
            }
            if contents.len() + common_prefixes.len() == limit {
                more = true;
                break;
            }
            last = Some(name.to_string());
            match folded {
                Some(prefix) => common_prefixes.push(CommonPrefix { prefix: Some(prefix) }),
                None => contents.push(Object {
                    key: Some(key.clone()),
                    e_tag: Some(ETag::Strong(entry.etag.clone())),
                    size: Some(entry.body.len() as i64),
                    last_modified: Some(entry.modified.into()),
                    ..Default::default()
                }),
            }
        }
        Ok(S3Response::new(ListObjectsV2Output {
            key_count: Some((contents.len() + common_prefixes.len()) as i32),
            max_keys: Some(limit as i32),
            is_truncated: Some(more),
            next_continuation_token: last.filter(|_| more),
            contents: Some(contents),
            common_prefixes: Some(common_prefixes),
            name: Some(input.bucket),
            prefix: input.prefix,
            delimiter: input.delimiter,
            continuation_token: input.continuation_token,
            start_after: input.start_after,
            ..Default::default()
        }))
    }

    async fn create_multipart_upload(
        &self,
        req: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        let CreateMultipartUploadInput { bucket, key, .. } = req.input;
        let mut state = self.state();
        state.bucket(&bucket)?;
        state.next_upload += 1;
        let id = format!("upload-{}", state.next_upload);
        state.uploads.insert(id.clone(), Upload { bucket: bucket.clone(), key: key.clone(), parts: BTreeMap::new() });
        Ok(S3Response::new(CreateMultipartUploadOutput {
            bucket: Some(bucket),
            key: Some(key),
            upload_id: Some(id),
            ..Default::default()
        }))
    }

    async fn upload_part(&self, req: S3Request<UploadPartInput>) -> S3Result<S3Response<UploadPartOutput>> {
        let body = collect(req.input.body).await?;
        let etag = md5(&body);
        let mut state = self.state();
        let upload = state.uploads.get_mut(&req.input.upload_id).ok_or_else(|| s3_error!(NoSuchUpload))?;
        upload.parts.insert(req.input.part_number, (body, etag.clone()));
        Ok(S3Response::new(UploadPartOutput { e_tag: Some(ETag::Strong(etag)), ..Default::default() }))
    }

    async fn complete_multipart_upload(
        &self,
        req: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let input = req.input;
        let parts = input.multipart_upload.and_then(|m| m.parts).unwrap_or_default();
        let mut state = self.state();
        let upload = state
            .uploads
            .get(&input.upload_id)
            .filter(|u| u.bucket == input.bucket && u.key == input.key)
            .ok_or_else(|| s3_error!(NoSuchUpload))?;
        if parts.is_empty() || !parts.is_sorted_by(|a, b| a.part_number < b.part_number) {
            return Err(s3_error!(InvalidPartOrder));
        }
        let (mut body, mut digests) = (BytesMut::new(), Md5::new());
        for (i, part) in parts.iter().enumerate() {
            let (bytes, etag) =
                part.part_number.and_then(|n| upload.parts.get(&n)).ok_or_else(|| s3_error!(InvalidPart))?;
            if part.e_tag.as_ref().is_none_or(|e| e.value() != etag) {
                return Err(s3_error!(InvalidPart));
            }
            if i + 1 < parts.len() && bytes.len() < 5 << 20 {
                return Err(s3_error!(EntityTooSmall));
            }
            body.extend_from_slice(bytes);
            digests.update(Md5::digest(bytes));
        }
        let etag = format!("{}-{}", hex(&digests.finalize()), parts.len());
        state.write(
            &input.bucket,
            &input.key,
            body.freeze(),
            etag.clone(),
            input.if_match.as_ref(),
            input.if_none_match.as_ref(),
        )?;
        state.uploads.remove(&input.upload_id);
        Ok(S3Response::new(CompleteMultipartUploadOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            e_tag: Some(ETag::Strong(etag)),
            ..Default::default()
        }))
    }

    async fn abort_multipart_upload(
        &self,
        req: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        match self.state().uploads.remove(&req.input.upload_id) {
            Some(_) => Ok(S3Response::new(AbortMultipartUploadOutput::default())),
            None => Err(s3_error!(NoSuchUpload)),
        }
    }
}

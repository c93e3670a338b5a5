//! Images and archives.

use bytes::Bytes;
use chanop::container::ImageRef;
use chanop::docker::image::build::finish;
use chanop::docker::image::{BuildContext, ImageBuildSpec};
use chanop::docker::{Engine, EngineError};
use futures_util::StreamExt as _;
use tar::{Builder, Header};

use crate::support::engine::{TEST_LABEL, TestBed};

fn archive(path: &str, content: &str, owner: u64) -> Bytes {
    let mut header = Header::new_gnu();
    header.set_mode(0o640);
    header.set_uid(owner);
    header.set_gid(owner);
    header.set_size(content.len() as u64);
    let mut archive = Builder::new(Vec::new());
    archive.append_data(&mut header, path, content.as_bytes()).unwrap();
    Bytes::from(archive.into_inner().unwrap())
}

#[tokio::test]
async fn an_imported_image_has_what_was_said_of_it() {
    let bed = TestBed::new().await;
    let tag = bed.image_name("import");
    let changes =
        [format!("LABEL {TEST_LABEL}={}", bed.mark()), "ENV A=1".to_owned(), "USER 7:8".to_owned()];
    let id = bed.docker.image_import(archive("etc/x", "y", 0), &tag, &changes).await.unwrap();
    let found = bed.docker.image(&tag).await.unwrap().unwrap();
    assert_eq!((found.id.as_str(), found.user.as_str()), (id.as_str(), "7:8"));
    assert!(found.env.contains(&"A=1".to_owned()));
    assert_eq!(found.labels.get(TEST_LABEL).map(String::as_str), Some(bed.mark()));
    assert_eq!(bed.docker.image_list(&tag).await.unwrap(), [id.as_str()]);
    // A shorter one is a name, and not this image's.
    let short = ImageRef::parse(&id["sha256:".len()..][..12]).unwrap();
    assert_eq!(bed.docker.image(&short).await.unwrap(), None);
    let by_id = ImageRef::parse(&id).unwrap();
    assert_eq!(bed.docker.image(&by_id).await.unwrap().unwrap().id, id);
    bed.docker.image_remove(&tag).await.unwrap();
    assert_eq!(bed.docker.image(&tag).await.unwrap(), None);
    assert_eq!(bed.docker.image_list(&tag).await.unwrap(), Vec::<String>::new());
    assert_eq!(bed.docker.image_remove(&tag).await.unwrap_err().class(), "not_found");
}

#[tokio::test]
async fn the_tags_of_a_repository_are_told_and_taken_off_one_by_one() {
    let bed = TestBed::new().await;
    let own = |rest: &str| {
        let tag = ImageRef::parse(&format!("chanop-test-{}-tags{rest}", bed.mark())).unwrap();
        bed.will_have(&tag);
        tag
    };
    let [first, second, other] = [own(":1"), own(":2"), own("-other:1")];
    let beneath = own("/beneath:1");
    // Built once and known again: the engine answers the same image for each.
    let directory = tempfile::tempdir().unwrap();
    let dockerfile = format!("FROM {}\nENV MARK={}\n", bed.image.reference(), bed.mark());
    std::fs::write(directory.path().join("Dockerfile"), dockerfile).unwrap();
    let context = BuildContext::read(directory.path(), "Dockerfile").unwrap();
    let mut ids = std::collections::BTreeSet::new();
    for tag in [&first, &second, &other, &beneath] {
        let build = bed.docker.image_build(&ImageBuildSpec::default(), &context, tag);
        finish(build).await.unwrap();
        ids.insert(bed.docker.image(tag).await.unwrap().unwrap().id);
    }
    assert_eq!(ids.len(), 1, "{ids:?}");
    let tags = async |asked: &str| {
        let asked =
            ImageRef::parse(&asked.replace("OWN", &format!("chanop-test-{}-tags", bed.mark())));
        bed.docker.image_tags(&asked.unwrap()).await.unwrap()
    };
    for asked in ["OWN", "OWN:absent", "docker.io/library/OWN:1"] {
        assert_eq!(tags(asked).await, [first.clone(), second.clone()], "{asked}");
    }
    assert_eq!(tags("OWN-other").await, std::slice::from_ref(&other));
    for asked in ["localhost:5000/OWN", "OWN-absent", ids.first().unwrap()] {
        assert_eq!(tags(asked).await, [], "{asked}");
    }
    bed.docker.image_remove(&first).await.unwrap();
    assert_eq!(tags("OWN").await, std::slice::from_ref(&second));
    assert_eq!(bed.docker.image(&other).await.unwrap().unwrap().id, *ids.first().unwrap());
    // A container holds the image, and so its last tag, whichever that is.
    let mut config = bed.config("true");
    config.image = second.to_string();
    let id = bed.docker.create(&bed.name("holds"), &config).await.unwrap();
    bed.docker.image_remove(&second).await.unwrap();
    bed.docker.image_remove(&beneath).await.unwrap();
    let error = bed.docker.image_remove(&other).await.unwrap_err();
    assert!(matches!(&error, EngineError::Conflict(_)), "{error}");
    assert_eq!(tags("OWN-other").await, std::slice::from_ref(&other));
    bed.docker.remove(&id, false).await.unwrap();
    bed.docker.image_remove(&other).await.unwrap();
    assert_eq!(tags("OWN-other").await, []);
}

#[tokio::test]
async fn an_archive_that_breaks_off_makes_no_image() {
    let bed = TestBed::new().await;
    let tag = bed.image_name("broken");
    let whole = archive("etc/x", "y", 0);
    // Everything but the archive's end, which an engine does not insist on.
    let pieces = vec![Ok(whole.slice(..1024)), Err(std::io::Error::other("the disk"))];
    let stream = futures_util::stream::iter(pieces).boxed();
    let error = bed.docker.image_import_stream(stream, &tag, &[]).await.unwrap_err();
    assert!(error.is_uncertain(), "{error:?}");
    assert_eq!(bed.docker.image(&tag).await.unwrap(), None);
    let pieces = vec![Ok(whole.slice(..700)), Ok(whole.slice(700..))];
    let stream = futures_util::stream::iter(pieces).boxed();
    let id = bed.docker.image_import_stream(stream, &tag, &[]).await.unwrap();
    assert_eq!(bed.docker.image(&tag).await.unwrap().unwrap().id, id);
}

#[tokio::test]
async fn an_archive_arrives_with_its_owners_and_needs_a_directory() {
    let bed = TestBed::new().await;
    let id = bed.create("copied", "stat -c '%u:%g %a' /tmp/a/b; cat /tmp/a/b").await;
    bed.docker.copy_to(&id, "/tmp", archive("a/b", "content", 1234)).await.unwrap();
    bed.docker.start(&id).await.unwrap();
    bed.docker.wait(&id).await.unwrap();
    assert_eq!(bed.output(&id).await.0, "1234:1234 640\ncontent");
    let error =
        bed.docker.copy_to(&id, "/no/such/directory", archive("a", "b", 0)).await.unwrap_err();
    assert!(matches!(&error, EngineError::Refused(_)), "{error}");
}

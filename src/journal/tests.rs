use proptest::prelude::*;

use super::*;

type Record = (u8, Vec<u8>);

fn folder() -> (tempfile::TempDir, Folder) {
    let place = tempfile::tempdir().unwrap();
    let folder = Folder::take(place.path()).unwrap();
    (place, folder)
}

fn records(all: &[Record]) -> Records {
    let mut records = Records::new();
    for (kind, body) in all {
        assert!(records.push(*kind, body));
    }
    records
}

fn open(folder: &Folder) -> (Journal, Opened, Vec<Record>) {
    let mut read = Vec::new();
    let (journal, opened) = Journal::open(folder, "it", |kind, body| read.push((kind, body.to_vec()))).unwrap();
    (journal, opened, read)
}

fn any_records() -> impl Strategy<Value = Vec<Record>> {
    // Bodies that have the mark in them, too.
    let body = prop_oneof![prop::collection::vec(any::<u8>(), 0..20), Just(scan::MARK.repeat(3))];
    prop::collection::vec((any::<u8>(), body), 0..4)
}

proptest! {
    // Each case waits for the disk, after each byte.
    #![proptest_config(ProptestConfig::with_cases(8))]

    /// A write that ends after any of its bytes leaves all records before it, and is followed by others.
    #[test]
    fn a_crash_in_the_middle_of_a_write_costs_that_write_alone(before in any_records(), last in any_records()) {
        let (place, folder) = folder();
        let path = place.path().join("it");
        open(&folder).0.append(&records(&before)).unwrap();
        let kept = std::fs::read(&path).unwrap();
        let written = records(&last);
        for end in 0..=written.bytes().len() {
            std::fs::write(&path, [&kept, &written.bytes()[..end]].concat()).unwrap();
            let (mut journal, opened, read) = open(&folder);
            // Records of the same write that came to their end are whole.
            prop_assert!(read.len() >= before.len() && read.len() <= before.len() + last.len());
            let all = [before.clone(), last.clone()].concat();
            prop_assert_eq!(&read[..], &all[..read.len()]);
            prop_assert_eq!(opened.damaged_bytes, 0);
            prop_assert_eq!(opened.torn_bytes == 0, records(&last[..read.len() - before.len()]).bytes().len() == end);
            journal.append(&records(&[(9, b"after".to_vec())])).unwrap();
            let (_, opened, again) = open(&folder);
            prop_assert_eq!(opened, Opened { records: read.len() as u64 + 1, ..Opened::default() });
            prop_assert_eq!(&again[read.len()], &(9, b"after".to_vec()));
        }
    }

    /// Whatever happens to one byte, the records that it does not touch are read, and that something is wrong is seen.
    #[test]
    fn damage_is_seen_and_costs_what_it_touches(all in any_records(), at in any::<prop::sample::Index>(), bit in 0..8) {
        let (place, folder) = folder();
        let path = place.path().join("it");
        open(&folder).0.append(&records(&all)).unwrap();
        let mut content = std::fs::read(&path).unwrap();
        prop_assume!(content.len() > MAGIC.len());
        let at = MAGIC.len() + at.index(content.len() - MAGIC.len());
        content[at] ^= 1u8 << bit;
        std::fs::write(&path, &content).unwrap();
        let (_, opened, read) = open(&folder);
        let mut end = MAGIC.len();
        let whole: Vec<Record> = all.iter().filter(|record| {
            let begin = end;
            end += records(std::slice::from_ref(*record)).bytes().len();
            !(begin..end).contains(&at)
        }).cloned().collect();
        prop_assert_eq!(read, whole);
        prop_assert!(opened.damaged_bytes + opened.torn_bytes > 0);
        if opened.damaged_bytes > 0 {
            prop_assert_eq!(std::fs::read(path.with_extension("damaged")).unwrap(), content);
        }
    }
}

#[test]
fn what_is_rewritten_is_all_that_there_is() {
    let (place, folder) = folder();
    let (mut journal, opened, _) = open(&folder);
    assert_eq!(opened, Opened::default());
    journal.append(&records(&[(1, vec![7; 1000]), (2, vec![8; 1000])])).unwrap();
    let before = journal.bytes();
    journal.rewrite(&records(&[(3, vec![9])])).unwrap();
    assert!(journal.bytes() < before && journal.rewritten_bytes() == journal.bytes());
    journal.append(&records(&[(4, vec![])])).unwrap();
    assert_eq!(journal.bytes(), std::fs::metadata(place.path().join("it")).unwrap().len());
    assert_eq!(open(&folder).2, [(3, vec![9]), (4, vec![])]);
}

#[test]
fn a_crash_while_it_is_rewritten_leaves_the_one_of_before() {
    let (place, folder) = folder();
    open(&folder).0.append(&records(&[(1, vec![1])])).unwrap();
    std::fs::write(place.path().join("it.new"), b"TICKJNL\x01\xf5Re").unwrap();
    assert_eq!(open(&folder).2, [(1, vec![1])]);
    open(&folder).0.rewrite(&records(&[(2, vec![2])])).unwrap();
    assert_eq!(open(&folder).2, [(2, vec![2])]);
}

#[test]
fn a_file_that_never_was_begun_is_begun_and_another_is_none() {
    let (place, folder) = folder();
    let path = place.path().join("it");
    for beginning in 0..MAGIC.len() {
        std::fs::write(&path, &MAGIC[..beginning]).unwrap();
        let (mut journal, opened, read) = open(&folder);
        assert_eq!((opened.torn_bytes, read.len()), (beginning as u64, 0));
        journal.append(&records(&[(1, vec![])])).unwrap();
        assert_eq!(open(&folder).2.len(), 1);
    }
    for other in [&b"{}"[..], b"TICKJNL\x02", b"TICKCAS\x01"] {
        std::fs::write(&path, other).unwrap();
        let error = Journal::open(&folder, "it", |_, _| ()).unwrap_err();
        assert!(error.to_string().ends_with("it: it is no journal, or one of another version"), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), other, "it is left alone");
    }
}

#[test]
fn what_is_too_large_is_not_taken() {
    let mut all = Records::new();
    assert!(!all.push(1, &vec![0; MAX_RECORD_BYTES]) && all.is_empty());
    assert!(all.push(1, &vec![0; MAX_RECORD_BYTES - 1]));
    let (_place, folder) = folder();
    open(&folder).0.append(&all).unwrap();
    assert_eq!(open(&folder).1.records, 1);
}

#[test]
fn a_folder_is_one_servers() {
    let (place, folder) = folder();
    assert!(matches!(Folder::take(place.path()), Err(FolderError::Taken(_))));
    drop(folder);
    Folder::take(place.path()).unwrap();
    let file = place.path().join("file");
    std::fs::write(&file, "").unwrap();
    let error = Folder::take(&file).unwrap_err().to_string();
    assert!(error.contains("cannot be written"), "{error}");
}

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

const LIMITS: Limits = Limits {
    attachments_timeout: Duration::from_secs(60),
    slow_timeout: Duration::from_secs(60),
    header_timeout: Duration::from_secs(60),
    frames_per_second: None,
    buffer_bytes: 1 << 20,
    kernel_bytes: None,
};

async fn pair() -> (Connection, Closer, TcpStream) {
    pair_with(LIMITS).await
}

async fn pair_with(limits: Limits) -> (Connection, Closer, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (connection, closer) = Connection::new(listener.accept().await.unwrap().0, limits, Arc::default());
    (connection, closer, peer)
}

#[tokio::test]
async fn a_closer_ends_a_reader_and_a_writer_that_wait_for_a_peer_that_does_nothing() {
    let (connection, closer, _peer) = pair().await;
    let (mut read, mut write) = tokio::io::split(connection);
    let writing = async {
        loop {
            if let Err(error) = write.write_all(&[0; 65_536]).await {
                return error.kind();
            }
        }
    };
    let reading = async {
        let end = read.read_u8();
        tokio::pin!(end);
        // Only now that both wait.
        assert!(futures_util::poll!(&mut end).is_pending());
        closer.close();
        end.await.unwrap_err().kind()
    };
    let ended = futures_util::future::join(writing, reading);
    assert_eq!(ended.await, (io::ErrorKind::BrokenPipe, io::ErrorKind::UnexpectedEof));
}

#[tokio::test]
async fn a_connection_is_whole_until_one_side_ends_it() {
    let (mut connection, closer, peer) = pair().await;
    assert!(closer.is_whole());
    drop(peer);
    assert!(connection.read_u8().await.is_err());
    assert!(!closer.is_whole());
    let (_connection, closer, _peer) = pair().await;
    closer.close();
    assert!(!closer.is_whole());
}

#[tokio::test]
async fn a_late_head_is_answered_while_more_of_it_comes() {
    let (mut connection, _closer, mut peer) =
        pair_with(Limits { header_timeout: Duration::from_millis(20), ..LIMITS }).await;
    peer.write_all(b"GET").await.unwrap();
    let mut head = [0; 10];
    // Without a wait: the time for the head runs from the first look on.
    connection.pipe.stream().readable().await.unwrap();
    assert_eq!(connection.read(&mut head).await.unwrap(), 3);
    let mut end = Box::pin(connection.read_u8());
    let mut answer = vec![0; LATE_HEAD.len()];
    tokio::select! {
        _ = &mut end => panic!("the peer has not ended"),
        read = peer.read_exact(&mut answer) => assert_eq!(read.unwrap(), LATE_HEAD.len()),
    }
    assert_eq!(answer, LATE_HEAD);
    assert_eq!(peer.read(&mut head).await.unwrap(), 0, "there is no other");
    for _ in 0..3 {
        peer.write_all(b" more").await.unwrap();
        assert!(futures_util::poll!(&mut end).is_pending());
    }
    peer.shutdown().await.unwrap();
    assert_eq!(end.await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
}

#[tokio::test]
async fn upgrades_are_found_while_their_connection_lives() {
    let upgrades = Upgrades::default();
    let (first, first_closer, _peer) = pair().await;
    let (second, second_closer, _peer) = pair().await;
    upgrades.expect("sid", &first_closer);
    upgrades.expect("sid", &second_closer);
    assert!(upgrades.find("sid").is_none(), "nobody has upgraded yet");
    upgrades.ended("sid", &first_closer.0);
    upgrades.ended("sid", &second_closer.0);
    drop(second);
    assert!(Arc::ptr_eq(&upgrades.find("sid").unwrap().0, &first_closer.0), "the first one stays");
    drop(first);
    assert!(upgrades.find("sid").is_none() && upgrades.is_empty());
}

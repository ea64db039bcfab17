//! Known-answer servers behave as configured. `harness selftest` relies on that.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use crate::common::{self, tests};
use crate::common::{DEADLINE, known as launch};
use harness::server::Server;

tests![
    every_lossless_answer_keeps_the_order_with_several_clients_and_split_lines,
    the_raw_echo_returns_an_unterminated_line,
    no_reply_is_lost_if_the_client_reads_late,
    a_reply_takes_at_least_the_delay_even_with_several_requests_in_flight,
    every_third_line_of_each_client_has_the_longer_delay,
    a_frozen_server_answers_nothing_until_the_freeze_ends,
    only_the_first_five_clients_are_served_and_others_reset_even_after_one_leaves,
    exactly_every_tenth_line_of_all_clients_together_gets_a_wrong_reply,
    exactly_every_tenth_line_of_all_clients_together_is_lost,
    a_rate_limit_applies_to_all_clients_together,
    a_slower_server_is_busy_for_longer,
    an_invalid_answer_argument_is_rejected_with_a_valid_example,
    sigterm_ends_a_known_answer_server_at_once,
];

struct Client {
    stream: TcpStream,
    replies: BufReader<TcpStream>,
}

impl Client {
    fn connect(server: &Server) -> Client {
        let stream = TcpStream::connect(server.address).expect("a listening server");
        stream.set_read_timeout(Some(DEADLINE)).expect("a socket option");
        stream.set_nodelay(true).expect("a socket option");
        let replies = BufReader::new(stream.try_clone().expect("a clone"));
        Client { stream, replies }
    }

    fn send(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).expect("a request");
    }

    /// Returns the next reply, without the line end.
    fn reply(&mut self) -> String {
        let mut line = String::new();
        self.replies.read_line(&mut line).expect("a reply");
        line.trim_end().to_owned()
    }

    /// Sends a line. Returns the reply and its latency.
    fn ask(&mut self, line: &str) -> (String, Duration) {
        let began = Instant::now();
        self.send(&format!("{line}\n"));
        (self.reply(), began.elapsed())
    }

    /// Sends a line, and checks that the reply is the same. Returns the latency.
    fn ask_and_check(&mut self, line: &str) -> Duration {
        let (reply, took) = self.ask(line);
        assert_eq!(reply, line);
        took
    }

    /// Closes the sending side, and returns all data until the server closes the connection.
    fn close_and_read_all(mut self) -> String {
        self.stream.shutdown(Shutdown::Write).expect("an open connection");
        let mut rest = String::new();
        self.replies.read_to_string(&mut rest).expect("a close without a reset");
        rest
    }
}

fn numbers(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|number| (1_000_000 + number).to_string()).collect()
}

fn lines(words: &[String]) -> String {
    words.iter().map(|word| format!("{word}\n")).collect()
}

fn every_lossless_answer_keeps_the_order_with_several_clients_and_split_lines() {
    for answer in ["echo", "delay", "bimodal", "freeze", "some", "rate", "slower"] {
        let server = launch(answer);
        let mut clients: Vec<Client> = (0..3).map(|_| Client::connect(&server)).collect();
        for (index, client) in clients.iter_mut().enumerate() {
            // The third line is sent in two parts.
            client.send(&format!("{index}\n\nbegun"));
        }
        for client in &mut clients {
            client.send(" and ended\nlast\n");
        }
        for (index, client) in clients.into_iter().enumerate() {
            assert_eq!(
                client.close_and_read_all(),
                format!("{index}\n\nbegun and ended\nlast\n"),
                "{answer}"
            );
        }
    }
}

fn the_raw_echo_returns_an_unterminated_line() {
    let server = launch("echo");
    let mut client = Client::connect(&server);
    client.send("no end");
    let mut reply = [0; 6];
    client.replies.read_exact(&mut reply).expect("an echo");
    assert_eq!(&reply, b"no end");
}

fn no_reply_is_lost_if_the_client_reads_late() {
    let sent = lines(&numbers(0..1_000_000));
    for answer in ["echo", "delay"] {
        let server = launch(answer);
        let mut client = Client::connect(&server);
        let mut writer = client.stream.try_clone().expect("a clone");
        let received = std::thread::scope(|scope| {
            scope.spawn(|| {
                writer.write_all(sent.as_bytes()).expect("requests that the server reads")
            });
            // During this pause, the server must stop reading, because its memory is bounded.
            std::thread::sleep(Duration::from_millis(200));
            let mut received = vec![0; sent.len()];
            client.replies.read_exact(&mut received).expect("all replies");
            received
        });
        assert!(received == sent.as_bytes(), "{answer}");
        assert_eq!(client.close_and_read_all(), "", "{answer}");
    }
}

fn a_reply_takes_at_least_the_delay_even_with_several_requests_in_flight() {
    let delay = Duration::from_millis(30);
    let server = launch("delay:30ms");
    let mut client = Client::connect(&server);
    for word in numbers(0..3) {
        let took = client.ask_and_check(&word);
        assert!(took >= delay, "{took:?}");
    }
    let began = Instant::now();
    let words = numbers(0..100);
    client.send(&lines(&words));
    for word in words {
        assert_eq!(client.reply(), word);
        assert!(began.elapsed() >= delay);
    }
}

fn every_third_line_of_each_client_has_the_longer_delay() {
    let (usual, rare) = (Duration::from_millis(5), Duration::from_millis(100));
    let server = launch("bimodal:5ms,100ms,3");
    let mut clients = [Client::connect(&server), Client::connect(&server)];
    for number in 1..=6 {
        for client in &mut clients {
            let took = client.ask_and_check(&number.to_string());
            assert!(took >= if number % 3 == 0 { rare } else { usual }, "{number}: {took:?}");
        }
    }
    // The delay of a slow reply also delays the replies to later requests.
    let [mut client, _] = clients;
    let began = Instant::now();
    let words = numbers(0..4);
    client.send(&lines(&words));
    for (index, word) in words.iter().enumerate() {
        assert_eq!(client.reply(), *word);
        let min_delay = if index < 2 { usual } else { rare };
        assert!(began.elapsed() >= min_delay, "{index}");
    }
}

fn a_frozen_server_answers_nothing_until_the_freeze_ends() {
    let server = launch("freeze:500ms,1s");
    let mut client = Client::connect(&server);
    let deadline = Instant::now() + DEADLINE;
    loop {
        assert!(Instant::now() < deadline, "the server never froze");
        // A freeze may delay either reply, so both latencies count.
        let before = client.ask_and_check("before");
        let after = client.ask_and_check("after");
        if before + after >= Duration::from_millis(500) {
            break;
        }
    }
}

fn only_the_first_five_clients_are_served_and_others_reset_even_after_one_leaves() {
    let server = launch("some:5");
    let mut served: Vec<Client> = (0..5).map(|_| Client::connect(&server)).collect();
    let is_reset = || {
        let mut sixth = Client::connect(&server);
        let error = sixth.stream.read(&mut [0; 1]).expect_err("a reset");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    };
    is_reset();
    for client in &mut served {
        client.ask_and_check("hello");
    }
    assert_eq!(served.pop().expect("five clients").close_and_read_all(), "");
    is_reset();
    served[0].ask_and_check("hello");
}

fn exactly_every_tenth_line_of_all_clients_together_gets_a_wrong_reply() {
    let server = launch("wrong:10");
    let mut clients = [Client::connect(&server), Client::connect(&server)];
    for (index, word) in numbers(0..40).iter().enumerate() {
        let (reply, _) = clients[index % 2].ask(word);
        let right = if index % 10 == 9 { "xxxxxxx" } else { word };
        assert_eq!(reply, right);
    }
}

fn exactly_every_tenth_line_of_all_clients_together_is_lost() {
    let server = launch("lost:10");
    let mut clients = [Client::connect(&server), Client::connect(&server)];
    let words = numbers(0..45);
    // Each client sends after the previous replies have arrived, so the server reads the lines in
    // order.
    for (client, words) in [(0, &words[..5]), (1, &words[5..10]), (0, &words[10..])] {
        clients[client].send(&lines(words));
        for word in words.iter().filter(|word| word.parse::<usize>().expect("a number") % 10 != 9) {
            assert_eq!(clients[client].reply(), *word);
        }
    }
    for client in clients {
        assert_eq!(client.close_and_read_all(), "");
    }
}

fn a_rate_limit_applies_to_all_clients_together() {
    let server = launch("rate:100");
    let mut clients = [Client::connect(&server), Client::connect(&server)];
    let began = Instant::now();
    for client in &mut clients {
        client.send(&lines(&numbers(0..20)));
    }
    for client in clients {
        assert_eq!(client.close_and_read_all(), lines(&numbers(0..20)));
    }
    let (took, min_time) = (began.elapsed(), Duration::from_millis(10) * (40 - 1));
    assert!(took >= min_time, "{took:?}");
}

fn a_slower_server_is_busy_for_longer() {
    for (answer, min_ms) in [("slower:0", 10), ("slower:900", 100)] {
        let server = launch(answer);
        let mut client = Client::connect(&server);
        let began = Instant::now();
        let words = numbers(0..1000);
        client.send(&lines(&words));
        for word in words {
            assert_eq!(client.reply(), word);
        }
        // The server may compute after the last reply. The time includes this, because the server
        // answers one more request only after it.
        client.ask_and_check("one more");
        let took = began.elapsed();
        assert!(took >= Duration::from_millis(min_ms), "{answer}: {took:?}");
    }
}

fn an_invalid_answer_argument_is_rejected_with_a_valid_example() {
    for (answer, word) in [("delay:soon", "delay:20ms"), ("nothing", "bimodal")] {
        let mut command = assert_cmd::Command::from(common::harness());
        command.args(["known", answer, "127.0.0.1", "0"]).timeout(DEADLINE);
        command.assert().code(2).stdout("").stderr(predicates::str::contains(word));
    }
}

fn sigterm_ends_a_known_answer_server_at_once() {
    let mut server = launch("delay:1h");
    let mut client = Client::connect(&server);
    client.send("never answered\n");
    server.process.signal(nix::sys::signal::Signal::SIGTERM);
    let exit = server.process.wait_for_exit(DEADLINE);
    assert_eq!(exit, Some(harness::exit::Exit::Signal(15)), "{exit:?}");
}

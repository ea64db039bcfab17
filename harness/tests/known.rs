//! Known-answer servers do what they are told: no more can be found by the load engine.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use crate::common::{self, trials};
use crate::common::{DEADLINE, known as launch};
use harness::server::Server;

trials![
    every_answer_that_loses_nothing_keeps_the_order_of_several_clients_and_pieces,
    the_raw_echo_writes_back_what_is_no_line,
    nothing_is_lost_where_the_client_reads_late,
    a_delayed_reply_takes_at_least_the_delay_also_with_several_under_way,
    every_third_line_of_each_client_is_on_the_second_hump,
    a_frozen_server_answers_nothing_for_so_long,
    only_the_first_five_are_served_and_later_ones_reset_even_when_one_has_left,
    exactly_every_tenth_line_is_answered_wrongly_counted_over_all_clients,
    exactly_every_tenth_line_is_lost_counted_over_all_clients,
    a_limited_rate_is_that_of_all_clients_together,
    a_slower_server_is_busy_for_longer,
    a_wrong_answer_on_the_command_line_is_told_with_a_right_one,
    a_request_to_end_ends_it_at_once,
];

struct Client {
    stream: TcpStream,
    replies: BufReader<TcpStream>,
}

impl Client {
    fn of(server: &Server) -> Client {
        let stream = TcpStream::connect(server.address).expect("it listens");
        stream.set_read_timeout(Some(DEADLINE)).expect("it can have one");
        stream.set_nodelay(true).expect("it can be");
        let replies = BufReader::new(stream.try_clone().expect("a clone"));
        Client { stream, replies }
    }

    fn send(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).expect("it is taken");
    }

    /// The next reply, without its line end.
    fn reply(&mut self) -> String {
        let mut line = String::new();
        self.replies.read_line(&mut line).expect("a reply");
        line.trim_end().to_owned()
    }

    /// The reply to a line, and how long it took.
    fn ask(&mut self, line: &str) -> (String, Duration) {
        let began = Instant::now();
        self.send(&format!("{line}\n"));
        (self.reply(), began.elapsed())
    }

    fn ask_and_check(&mut self, line: &str) -> Duration {
        let (reply, took) = self.ask(line);
        assert_eq!(reply, line);
        took
    }

    /// All that comes until the server closes, after nothing more is asked.
    fn rest(mut self) -> String {
        self.stream.shutdown(Shutdown::Write).expect("it is open");
        let mut rest = String::new();
        self.replies.read_to_string(&mut rest).expect("the rest");
        rest
    }
}

fn numbers(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|number| (1_000_000 + number).to_string()).collect()
}

fn lines(words: &[String]) -> String {
    words.iter().map(|word| format!("{word}\n")).collect()
}

fn every_answer_that_loses_nothing_keeps_the_order_of_several_clients_and_pieces() {
    for answer in ["echo", "delay", "two-humps", "freeze", "some", "rate", "slower"] {
        let server = launch(answer);
        let mut clients: Vec<Client> = (0..3).map(|_| Client::of(&server)).collect();
        for (index, client) in clients.iter_mut().enumerate() {
            // The third line comes in two pieces.
            client.send(&format!("{index}\n\nbegun"));
        }
        for client in &mut clients {
            client.send(" and ended\nlast\n");
        }
        for (index, client) in clients.into_iter().enumerate() {
            assert_eq!(client.rest(), format!("{index}\n\nbegun and ended\nlast\n"), "{answer}");
        }
    }
}

fn the_raw_echo_writes_back_what_is_no_line() {
    let server = launch("echo");
    let mut client = Client::of(&server);
    client.send("no end");
    let mut reply = [0; 6];
    client.replies.read_exact(&mut reply).expect("it comes back");
    assert_eq!(&reply, b"no end");
}

fn nothing_is_lost_where_the_client_reads_late() {
    let sent = lines(&numbers(0..1_000_000));
    for answer in ["echo", "delay"] {
        let server = launch(answer);
        let mut client = Client::of(&server);
        let mut writer = client.stream.try_clone().expect("a clone");
        let received = std::thread::scope(|scope| {
            scope.spawn(|| writer.write_all(sent.as_bytes()).expect("it is taken in the end"));
            // Meanwhile the server has to stop reading: its memory has a bound.
            std::thread::sleep(Duration::from_millis(200));
            let mut received = vec![0; sent.len()];
            client.replies.read_exact(&mut received).expect("all of it");
            received
        });
        assert!(received == sent.as_bytes(), "{answer}");
        assert_eq!(client.rest(), "", "{answer}");
    }
}

fn a_delayed_reply_takes_at_least_the_delay_also_with_several_under_way() {
    let delay = Duration::from_millis(30);
    let server = launch("delay:30ms");
    let mut client = Client::of(&server);
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

fn every_third_line_of_each_client_is_on_the_second_hump() {
    let (usual, rare) = (Duration::from_millis(5), Duration::from_millis(100));
    let server = launch("two-humps:5ms,100ms,3");
    let mut clients = [Client::of(&server), Client::of(&server)];
    for number in 1..=6 {
        for client in &mut clients {
            let took = client.ask_and_check(&number.to_string());
            assert!(took >= if number % 3 == 0 { rare } else { usual }, "{number}: {took:?}");
        }
    }
    // What is under way waits for the slow one before it.
    let [mut client, _] = clients;
    let began = Instant::now();
    let words = numbers(0..4);
    client.send(&lines(&words));
    for (index, word) in words.iter().enumerate() {
        assert_eq!(client.reply(), *word);
        let least = if index < 2 { usual } else { rare };
        assert!(began.elapsed() >= least, "{index}");
    }
}

fn a_frozen_server_answers_nothing_for_so_long() {
    let server = launch("freeze:500ms,1s");
    let mut client = Client::of(&server);
    let deadline = Instant::now() + DEADLINE;
    loop {
        assert!(Instant::now() < deadline, "it never froze");
        // The reply before a freeze may be seen late, so time counts from its request.
        let before = client.ask_and_check("before");
        let after = client.ask_and_check("after");
        if before + after >= Duration::from_millis(500) {
            break;
        }
    }
}

fn only_the_first_five_are_served_and_later_ones_reset_even_when_one_has_left() {
    let server = launch("some:5");
    let mut served: Vec<Client> = (0..5).map(|_| Client::of(&server)).collect();
    let is_reset = || {
        let mut sixth = Client::of(&server);
        let error = sixth.stream.read(&mut [0; 1]).expect_err("it is reset");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    };
    is_reset();
    for client in &mut served {
        client.ask_and_check("hello");
    }
    assert_eq!(served.pop().expect("the last").rest(), "");
    is_reset();
    served[0].ask_and_check("hello");
}

fn exactly_every_tenth_line_is_answered_wrongly_counted_over_all_clients() {
    let server = launch("wrong:10");
    let mut clients = [Client::of(&server), Client::of(&server)];
    for (index, word) in numbers(0..40).iter().enumerate() {
        let (reply, _) = clients[index % 2].ask(word);
        let right = if index % 10 == 9 { "xxxxxxx" } else { word };
        assert_eq!(reply, right);
    }
}

fn exactly_every_tenth_line_is_lost_counted_over_all_clients() {
    let server = launch("lost:10");
    let mut clients = [Client::of(&server), Client::of(&server)];
    let words = numbers(0..45);
    // What was read of a client is known by its replies before the next one is asked.
    for (client, words) in [(0, &words[..5]), (1, &words[5..10]), (0, &words[10..])] {
        clients[client].send(&lines(words));
        for word in words.iter().filter(|word| word.parse::<usize>().expect("one") % 10 != 9) {
            assert_eq!(clients[client].reply(), *word);
        }
    }
    for client in clients {
        assert_eq!(client.rest(), "");
    }
}

fn a_limited_rate_is_that_of_all_clients_together() {
    let server = launch("rate:100");
    let mut clients = [Client::of(&server), Client::of(&server)];
    let began = Instant::now();
    for client in &mut clients {
        client.send(&lines(&numbers(0..20)));
    }
    for client in clients {
        assert_eq!(client.rest(), lines(&numbers(0..20)));
    }
    let (took, least) = (began.elapsed(), Duration::from_millis(10) * (40 - 1));
    assert!(took >= least, "{took:?}");
}

fn a_slower_server_is_busy_for_longer() {
    for (answer, least) in [("slower:0", 10), ("slower:900", 100)] {
        let server = launch(answer);
        let mut client = Client::of(&server);
        let began = Instant::now();
        let words = numbers(0..1000);
        client.send(&lines(&words));
        for word in words {
            assert_eq!(client.reply(), word);
        }
        // What was answered before is paid for afterwards.
        client.ask_and_check("one more");
        let took = began.elapsed();
        assert!(took >= Duration::from_millis(least), "{answer}: {took:?}");
    }
}

fn a_wrong_answer_on_the_command_line_is_told_with_a_right_one() {
    for (answer, word) in [("delay:soon", "delay:20ms"), ("nothing", "two-humps")] {
        let mut command = assert_cmd::Command::from(common::harness());
        command.args(["known", answer, "127.0.0.1", "0"]).timeout(DEADLINE);
        command.assert().code(2).stdout("").stderr(predicates::str::contains(word));
    }
}

fn a_request_to_end_ends_it_at_once() {
    let mut server = launch("delay:1h");
    let mut client = Client::of(&server);
    client.send("never answered\n");
    server.process.signal(nix::sys::signal::Signal::SIGTERM);
    let exit = server.process.wait_for_exit(DEADLINE);
    assert_eq!(exit, Some(harness::exit::Exit::Signal(15)), "{exit:?}");
}

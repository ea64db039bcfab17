//! The generator: one thread that asks when the time has come and takes in the replies.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::connections::{Connections, Event, Events, Happened};
use super::demand::{Demand, Pace, Schedule};
use super::exchange::Cycle;
use super::outcome::{Outcome, Outcomes};
use super::recorder::{Clock, Recorder};

/// A sleep may end so much too late. What is due sooner is waited for without.
const SLEEP_NOT: u64 = 1_000_000;

/// How much before a request is due nothing else is begun: a call to the kernel takes as long.
const STAND_BY: u64 = 1_500;

/// So many requests of open loops are asked in a row, at the most: one that is behind would come to
/// nothing else, as to take in the replies.
const MOST_IN_A_ROW: u32 = 64;

/// Without anything due, the time is looked at so often.
const LOOK_EVERY_MS: u16 = 20;

/// Connections that are made at once: fewer than any usual queue of clients to be accepted.
const CONNECTED_AT_ONCE: usize = 64;

/// How long a connection that was not made is not tried again, where it is to be.
const RECONNECT_AFTER: Duration = Duration::from_millis(1);

/// Addresses to connect from where each has many connections to make: each has 28,000 ports, as
/// Linux is mostly set (`ip_local_port_range`), and a port waits for a minute.
const SOURCES: u32 = 250;

/// A generator and its connections.
#[derive(Debug)]
pub struct Generator {
    connections: Connections,
    groups: Vec<Members>,
    events: Events,
    /// Which of them is the next to be looked at, and how many there are.
    next: usize,
    told: usize,
    /// Requests of open loops since it was last looked what has happened.
    in_a_row: u32,
    patience: u64,
}

/// The connections of a group: those from an index on.
#[derive(Debug)]
struct Members {
    pace: Pace,
    first: usize,
    count: usize,
    /// Whose turn it is.
    turn: usize,
    schedule: Option<Schedule>,
    /// When something is to be done for all of them.
    tick: u64,
    /// Those that are to be connected again.
    gone: Vec<usize>,
}

/// When to stop sending.
#[derive(Clone, Copy, Debug)]
pub enum Until<'a> {
    /// When so much time has passed.
    Past(Duration),
    /// When so many requests of the measured group have been sent.
    Sent(u64),
    /// When the clock shows that many nanoseconds, which may be moved meanwhile.
    Told(&'a AtomicU64),
}

impl Generator {
    /// Connects. Connections that fail are outcomes, not errors. The recorders are by group.
    ///
    /// # Errors
    /// The kernel refuses the generator what it needs.
    pub fn connect(demand: &Demand, recorders: &mut [Recorder]) -> io::Result<Generator> {
        Generator::connect_by(demand, recorders, Clock::start(), &AtomicBool::new(false))
    }

    /// As [`connect`](Self::connect), and leaves it at those that there are when it is interrupted.
    pub(super) fn connect_by(
        demand: &Demand,
        recorders: &mut [Recorder],
        clock: Clock,
        interrupted: &AtomicBool,
    ) -> io::Result<Generator> {
        let cycles = demand.groups.iter().map(|group| Cycle::new(&group.exchanges)).collect();
        let mut connections = Connections::new(demand.address, cycles, demand.patience, clock)?;
        if demand.groups.iter().any(|group| group.pace.reconnects()) {
            connections.connect_from(SOURCES);
        }
        let mut first = 0;
        let groups = demand.groups.iter().enumerate().map(|(number, group)| {
            let schedule = match group.pace {
                Pace::Open { arrivals, per_s } => {
                    Some(Schedule::new(arrivals, per_s, demand.seed.wrapping_add(number as u64)))
                }
                _ => None,
            };
            let members = Members {
                pace: group.pace,
                first,
                count: group.connections,
                turn: 0,
                schedule,
                tick: 0,
                gone: Vec::new(),
            };
            first += group.connections;
            members
        });
        let groups: Vec<Members> = groups.collect();
        let patience = demand.patience.as_nanos() as u64;
        let events = Events::new();
        let (next, told, in_a_row) = (0, 0, 0);
        let mut generator =
            Generator { connections, groups, events, next, told, in_a_row, patience };
        generator.connect_all(recorders, interrupted)?;
        Ok(generator)
    }

    /// Lets this one of several generators ask in open loops of even distances between the others,
    /// by a time that they have in common: that part of a distance later.
    pub(super) fn ask_between_others(&mut self, common: u64, part: f64) {
        for schedule in self.groups.iter_mut().filter_map(|members| members.schedule.as_mut()) {
            schedule.keep_in_step_with(common, part);
        }
    }

    fn connect_all(
        &mut self,
        recorders: &mut [Recorder],
        interrupted: &AtomicBool,
    ) -> io::Result<()> {
        let goes_on = || !interrupted.load(Relaxed);
        for group in 0..self.groups.len() {
            for _ in 0..self.groups[group].count {
                if self.groups[group].pace.reconnects() || !goes_on() {
                    self.connections.place(group as u16);
                    continue;
                }
                // Each of them would take as long.
                if self.connections.has_timed_out(group) {
                    self.connections.despair(group as u16);
                    continue;
                }
                let index = self.connections.connect(group as u16, &mut recorders[group])?;
                self.begin_if_idle(index, recorders);
                while self.connections.connecting() >= CONNECTED_AT_ONCE && goes_on() {
                    self.take_in(recorders)?;
                }
            }
        }
        // What is not answered is overdue at last.
        let idle: Vec<usize> =
            (0..self.groups.len()).filter(|&it| self.groups[it].pace == Pace::Idle).collect();
        while goes_on()
            && (self.connections.connecting() > 0
                || idle.iter().any(|&group| self.connections.under_way(group) > 0))
        {
            self.take_in(recorders)?;
        }
        Ok(())
    }

    fn begin_if_idle(&mut self, index: usize, recorders: &mut [Recorder]) {
        let group = self.connections.group(index);
        if self.groups[group].pace == Pace::Idle && self.connections.is_open(index) {
            self.begin(index, None, recorders);
        }
    }

    /// Takes in what comes, while nobody is to ask.
    fn take_in(&mut self, recorders: &mut [Recorder]) -> io::Result<()> {
        let mut event = self.next_event(LOOK_EVERY_MS)?;
        while let Some(it) = event {
            let group = self.connections.group(it.index);
            if self.connections.happen(it, &mut recorders[group])? == Happened::Connected {
                self.begin_if_idle(it.index, recorders);
            }
            event = self.pending();
        }
        self.connections.give_up_overdue(self.now(), recorders);
        Ok(())
    }

    /// The next thing that has happened, which is waited for so long if need be.
    fn next_event(&mut self, milliseconds: u16) -> io::Result<Option<Event>> {
        if self.next == self.told {
            self.told = self.connections.wait(&mut self.events, milliseconds)?;
            self.next = 0;
        }
        Ok(self.pending())
    }

    fn pending(&mut self) -> Option<Event> {
        let event = (self.next < self.told).then(|| self.events.get(self.next))?;
        self.next += 1;
        Some(event)
    }

    /// The clock of its times.
    pub(super) fn now(&self) -> u64 {
        self.connections.clock.now()
    }

    /// What became of a group's connections so far; those that live and were answered count as
    /// answered.
    pub fn connection_outcomes(&self, group: usize) -> Outcomes {
        self.connections.outcomes(group)
    }

    /// Asks until it is time to stop; then waits for the replies that are due to the measured
    /// group, and gives up what the others have under way. Gives the time at which it stopped
    /// asking. The recorders are by group.
    ///
    /// # Errors
    /// The kernel refuses the generator what it needs.
    pub fn run(&mut self, until: Until<'_>, recorders: &mut [Recorder]) -> io::Result<u64> {
        let began = self.now();
        let mut quota = Quota::new(until, began);
        self.start(began, &mut quota, recorders);
        let mut stopped = None;
        loop {
            let now = self.connections.look_at_clock(0, &mut recorders[0]);
            if stopped.is_none() && (quota.is_used_up(now) || !self.has_hope()) {
                stopped = Some(now.min(quota.end()));
                recorders.iter_mut().for_each(|recorder| recorder.finish(now));
            }
            self.connections.give_up_overdue(now, recorders);
            let (due, tick) = match stopped {
                None => {
                    recorders.iter_mut().for_each(|recorder| recorder.look(now));
                    self.do_what_is_due(now, quota.end(), recorders)?;
                    (self.next_due(u64::MAX), self.next_tick())
                }
                Some(end) => {
                    // What was due before the end is asked, however late that is.
                    self.ask_what_is_due(now, end, recorders);
                    let due = self.next_due(end);
                    if self.is_over(end, now, due) {
                        self.give_up(end, recorders);
                        return Ok(end);
                    }
                    (due, u64::MAX)
                }
            };
            let is_behind = self.in_a_row >= MOST_IN_A_ROW;
            let wait = if is_behind { Some(0) } else { self.may_wait(due, tick) };
            let Some(milliseconds) = wait else { continue };
            self.in_a_row = 0;
            let mut event = self.next_event(milliseconds)?;
            while let Some(it) = event {
                self.take(it, stopped.is_none().then_some(&mut quota), recorders)?;
                // Where nothing will be due, nothing can be late; nor can what is late already.
                event = if due == u64::MAX || is_behind { self.pending() } else { None };
            }
        }
    }

    /// Whether nothing is waited for any more, so long after the end: no reply, and no request that
    /// was due before it.
    fn is_over(&self, end: u64, now: u64, due: u64) -> bool {
        let is_answered = self.connections.under_way(0) == 0 && due == u64::MAX;
        is_answered || now > end.saturating_add(self.patience)
    }

    /// Nothing is waited for any more. What was due before the end and was not asked is in flight,
    /// as far as anybody can tell who asked for it.
    fn give_up(&mut self, end: u64, recorders: &mut [Recorder]) {
        let now = self.now();
        for (group, recorder) in recorders.iter_mut().enumerate() {
            self.connections.abandon(group, recorder);
            let Some(schedule) = &mut self.groups[group].schedule else { continue };
            while schedule.due() < end {
                recorder.not_sent(Outcome::InFlight, schedule.due(), now);
                schedule.advance();
            }
        }
    }

    /// For how many milliseconds something may be waited for in the kernel. `None` where that
    /// might make the next request late; what is to be done at a tick may be.
    fn may_wait(&self, due: u64, tick: u64) -> Option<u16> {
        if due.min(tick) == u64::MAX {
            return Some(LOOK_EVERY_MS);
        }
        let now = self.now();
        let left = due.saturating_sub(now);
        let before_due = left.saturating_sub(SLEEP_NOT) / 1_000_000;
        let milliseconds = before_due.min(tick.saturating_sub(now).div_ceil(1_000_000));
        (left > STAND_BY).then_some(milliseconds.min(LOOK_EVERY_MS.into()) as u16)
    }

    /// What every connection does first.
    fn start(&mut self, now: u64, quota: &mut Quota<'_>, recorders: &mut [Recorder]) {
        for group in 0..self.groups.len() {
            let members = &mut self.groups[group];
            members.tick = now;
            if let Some(schedule) = &mut members.schedule {
                schedule.begin(now);
            }
            for index in members.first..members.first + members.count {
                match self.groups[group].pace {
                    Pace::Churn => self.groups[group].gone.push(index),
                    // They have asked when they were connected.
                    Pace::Idle => {}
                    _ if self.connections.is_open(index) => {
                        self.begin(index, Some(quota), recorders);
                    }
                    _ => {}
                }
            }
        }
    }

    /// A connection asks for the first time, as far as there is a quota.
    fn begin(&mut self, index: usize, quota: Option<&mut Quota<'_>>, recorders: &mut [Recorder]) {
        let (group, now) = (self.connections.group(index), self.now());
        let recorder = &mut recorders[group];
        let wanted = match self.groups[group].pace {
            Pace::Closed { depth } => depth,
            Pace::Open { .. } => return,
            _ => 1,
        };
        let count = match quota {
            Some(quota) if group == 0 => quota.take(wanted, now),
            _ => wanted,
        };
        match self.groups[group].pace {
            _ if count == 0 => {}
            Pace::Drip { .. } => {
                self.connections.promise(index, count, None, now, recorder);
            }
            _ => self.connections.ask(index, count, None, now, recorder),
        }
    }

    /// Whether there is anybody of the measured group left who may ask.
    fn has_hope(&self) -> bool {
        let measured = &self.groups[0];
        measured.pace.reconnects()
            || (measured.first..measured.first + measured.count)
                .any(|index| !self.connections.is_free(index))
    }

    /// When the next request of an open loop is due, of those that are so before the end.
    fn next_due(&self, end: u64) -> u64 {
        let due = self.groups.iter().filter_map(|members| Some(members.schedule.as_ref()?.due()));
        due.filter(|&due| due < end).min().unwrap_or(u64::MAX)
    }

    /// When something else is to be done next.
    fn next_tick(&self) -> u64 {
        let tick = |members: &Members| match members.pace {
            Pace::Storm { .. } | Pace::Drip { .. } => members.tick,
            Pace::Churn if !members.gone.is_empty() => members.tick,
            _ => u64::MAX,
        };
        self.groups.iter().map(tick).min().unwrap_or(u64::MAX)
    }

    fn do_what_is_due(&mut self, now: u64, end: u64, recorders: &mut [Recorder]) -> io::Result<()> {
        self.ask_what_is_due(now, end, recorders);
        for group in 0..self.groups.len() {
            let recorder = &mut recorders[group];
            match self.groups[group].pace {
                Pace::Drip { every } if self.groups[group].tick <= now => {
                    self.drip(group, now, recorder);
                    self.groups[group].tick = now + every.as_nanos() as u64;
                }
                Pace::Storm { every } if self.groups[group].tick <= now => {
                    self.storm(group, recorders)?;
                    self.groups[group].tick = now + every.as_nanos() as u64;
                }
                Pace::Churn if self.groups[group].tick <= now => {
                    for index in std::mem::take(&mut self.groups[group].gone) {
                        self.connect_again(index, recorders)?;
                    }
                    self.groups[group].tick = now + RECONNECT_AFTER.as_nanos() as u64;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Requests of open loops whose time has come before the end, each by the next connection that
    /// lasts, and no more in a row than may be.
    fn ask_what_is_due(&mut self, mut now: u64, end: u64, recorders: &mut [Recorder]) {
        for (members, recorder) in self.groups.iter_mut().zip(recorders) {
            let Some(schedule) = &mut members.schedule else { continue };
            while schedule.due() <= now && schedule.due() < end && self.in_a_row < MOST_IN_A_ROW {
                let next = (0..members.count)
                    .map(|step| members.first + (members.turn + step) % members.count)
                    .find(|&index| self.connections.is_open(index));
                let intended = schedule.due();
                match next {
                    Some(index) => {
                        members.turn = index - members.first + 1;
                        self.connections.ask(index, 1, Some(intended), now, recorder);
                    }
                    // There is none any more.
                    None => recorder.not_sent(Outcome::Closed, intended, now),
                }
                schedule.advance();
                self.in_a_row += 1;
                now = self.connections.clock.now();
            }
        }
    }

    /// One byte of each connection.
    fn drip(&mut self, group: usize, now: u64, recorder: &mut Recorder) {
        let members = &self.groups[group];
        for index in members.first..members.first + members.count {
            if self.connections.under_way_on(index) == 0 && self.connections.is_open(index) {
                self.connections.promise(index, 1, None, now, recorder);
            }
            self.connections.send(index, 1, recorder);
        }
    }

    fn storm(&mut self, group: usize, recorders: &mut [Recorder]) -> io::Result<()> {
        let members = &self.groups[group];
        let all = members.first..members.first + members.count;
        for index in all.clone() {
            self.connections.reset(index, &mut recorders[group]);
        }
        for index in all {
            self.connect_again(index, recorders)?;
        }
        Ok(())
    }

    fn connect_again(&mut self, index: usize, recorders: &mut [Recorder]) -> io::Result<()> {
        let group = self.connections.group(index);
        self.connections.reconnect(index, &mut recorders[group])?;
        if self.connections.is_open(index) {
            self.begin(index, None, recorders);
        }
        self.come_again(index);
        Ok(())
    }

    /// Whoever comes again and again does so in a while, if there is no connection now: it may be
    /// over by whatever was done with it.
    fn come_again(&mut self, index: usize) {
        let members = &mut self.groups[self.connections.group(index)];
        let is_gone = members.pace == Pace::Churn && self.connections.is_free(index);
        if is_gone && !members.gone.contains(&index) {
            members.gone.push(index);
        }
    }

    /// Does what an event is about, and lets the connection go on as far as there is a quota.
    fn take(
        &mut self,
        event: Event,
        quota: Option<&mut Quota<'_>>,
        recorders: &mut [Recorder],
    ) -> io::Result<()> {
        let (index, group) = (event.index, self.connections.group(event.index));
        let recorder = &mut recorders[group];
        let happened = self.connections.happen(event, recorder)?;
        let Some(quota) = quota else { return Ok(()) };
        match (self.groups[group].pace, happened) {
            (Pace::Closed { .. }, Happened::Connected) => self.begin(index, Some(quota), recorders),
            (Pace::Closed { .. }, Happened::Replied(count, at)) => {
                let count = if group > 0 { count } else { quota.take(count, at) };
                if count > 0 && self.connections.is_open(index) {
                    self.connections.ask(index, count, None, at, recorder);
                }
            }
            (Pace::Churn, Happened::Replied(_, at)) => {
                if self.connections.is_open(index) {
                    self.connections.close(index, recorder);
                }
                if !quota.is_used_up(at) {
                    self.connect_again(index, recorders)?;
                }
            }
            (Pace::Open { .. }, _) | (_, Happened::Nothing | Happened::Ended) => {}
            (_, Happened::Connected) => self.begin(index, None, recorders),
            (_, Happened::Replied(..)) => {}
        }
        self.come_again(index);
        Ok(())
    }
}

impl Drop for Generator {
    fn drop(&mut self) {
        self.connections.reset_at_the_end();
    }
}

/// What may still be asked.
struct Quota<'a> {
    until: Until<'a>,
    began: u64,
    sent: u64,
}

impl Quota<'_> {
    fn new(until: Until<'_>, began: u64) -> Quota<'_> {
        Quota { until, began, sent: 0 }
    }

    /// The time at which it ends, where there is one.
    fn end(&self) -> u64 {
        match self.until {
            Until::Past(time) => self.began + time.as_nanos() as u64,
            Until::Sent(_) => u64::MAX,
            Until::Told(end) => end.load(Relaxed),
        }
    }

    fn is_used_up(&self, now: u64) -> bool {
        match self.until {
            Until::Sent(most) => self.sent >= most,
            _ => now >= self.end(),
        }
    }

    /// How many of so many requests may be sent.
    fn take(&mut self, wanted: u32, now: u64) -> u32 {
        let granted = match self.until {
            Until::Sent(most) => u64::from(wanted).min(most - self.sent) as u32,
            _ if now >= self.end() => 0,
            _ => wanted,
        };
        self.sent += u64::from(granted);
        granted
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::net::{Shutdown, SocketAddr, TcpListener};
    use std::sync::mpsc::channel;
    use std::thread;

    use servers::Service;

    use super::super::recorder::thread_cpu_ns;
    use super::*;
    use crate::load::{Arrivals, Group, exchanges};

    fn demand(address: SocketAddr, connections: usize, pace: Pace) -> Demand {
        let exchanges = exchanges(Service::Echo);
        Demand::new(address, Group { exchanges, connections, pace }, 1)
    }

    /// What a run of so many requests by one connection gives, on a server that answers with what
    /// `answer` makes of each number and line, byte by byte, and closes when that is nothing.
    fn loaded(
        answer: fn(usize, Vec<u8>) -> Option<Vec<u8>>,
        requests: u64,
        depth: u32,
    ) -> (Recorder, Outcomes) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let server = thread::spawn(move || {
            let (stream, _) = listener.accept().expect("the generator");
            let mut lines = BufReader::new(stream.try_clone().expect("a clone"));
            for number in 0.. {
                let mut line = Vec::new();
                if lines.read_until(b'\n', &mut line).unwrap_or(0) == 0 {
                    break;
                }
                let Some(reply) = answer(number, line) else { break };
                for byte in reply {
                    let _ = (&stream).write_all(&[byte]);
                }
            }
        });
        let demand = demand(address, 1, Pace::Closed { depth });
        let mut recorders = [Recorder::new()];
        let mut load = Generator::connect(&demand, &mut recorders).expect("it");
        load.run(Until::Sent(requests), &mut recorders).expect("a run");
        let connections = load.connection_outcomes(0);
        drop(load);
        server.join().expect("the server ends");
        let [recorder] = recorders;
        (recorder, connections)
    }

    fn counts(recorder: &Recorder, outcome: Outcome) -> (u64, u64) {
        (recorder.current().outcomes.get(outcome), recorder.current().sent.len())
    }

    #[test]
    fn every_right_reply_is_a_latency_at_any_depth() {
        for depth in [1, 2, 7] {
            let (recorder, connections) = loaded(|_, line| Some(line), 21, depth);
            assert_eq!(counts(&recorder, Outcome::Answered), (21, 21));
            assert_eq!(connections.get(Outcome::Answered), 1);
        }
    }

    #[test]
    fn a_wrong_reply_is_an_outcome_and_no_latency() {
        let one_wrong = |number, line| Some(if number == 5 { b"wrong\n".to_vec() } else { line });
        for depth in [1, 4] {
            let (recorder, connections) = loaded(one_wrong, 20, depth);
            assert_eq!(counts(&recorder, Outcome::Answered), (19, 19));
            assert_eq!(counts(&recorder, Outcome::WrongReply), (1, 19));
            assert_eq!(connections.get(Outcome::Answered), 1);
        }
    }

    #[test]
    fn a_connection_is_given_up_when_its_replies_are_out_of_step() {
        // One reply is sent twice: all that follow belong to the request before.
        let twice = |number, line: Vec<u8>| Some(if number == 5 { line.repeat(2) } else { line });
        let (recorder, connections) = loaded(twice, 20, 4);
        assert_eq!(counts(&recorder, Outcome::Answered), (6, 6));
        assert_eq!(connections.get(Outcome::WrongReply), 1);
    }

    #[test]
    fn a_lost_reply_and_a_busy_line_are_outcomes_and_no_latencies() {
        let (recorder, _) = loaded(|number, line| (number < 3).then_some(line), 20, 1);
        let (answered, latencies) = counts(&recorder, Outcome::Answered);
        let lost = counts(&recorder, Outcome::Closed).0 + counts(&recorder, Outcome::Reset).0;
        assert_eq!((answered, lost, latencies), (3, 1, 3));

        let (recorder, connections) =
            loaded(|number, _| (number == 0).then(|| b"error: busy, later\n".to_vec()), 1, 1);
        assert_eq!(counts(&recorder, Outcome::Busy), (1, 0));
        assert_eq!(connections.sum(), 1);
    }

    #[test]
    fn an_open_loop_asks_all_that_is_due_before_its_end_and_no_more() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("the generator");
            let _ = std::io::copy(&mut stream.try_clone().expect("a clone"), &mut stream);
        });
        let pace = Pace::Open { arrivals: Arrivals::Constant, per_s: 5_000.0 };
        let mut recorders = [Recorder::new()];
        let mut load = Generator::connect(&demand(address, 1, pace), &mut recorders).expect("it");
        load.run(Until::Past(Duration::from_millis(100)), &mut recorders).expect("a run");
        drop(load);
        server.join().expect("the server ends");
        // The first is due after one distance, and the 500th at the end.
        assert_eq!(recorders[0].current().asked, 499);
        assert_eq!(counts(&recorders[0], Outcome::Answered), (499, 499));
    }

    #[test]
    fn a_connection_that_is_refused_is_an_outcome() {
        let port = crate::server::Port::take([127, 0, 0, 1].into()).expect("a port");
        let address = SocketAddr::from(([127, 0, 0, 1], port.number()));
        let mut recorders = [Recorder::new()];
        let demand = demand(address, 3, Pace::Closed { depth: 1 });
        let mut load = Generator::connect(&demand, &mut recorders).expect("it");
        load.run(Until::Sent(10), &mut recorders).expect("a run");
        assert_eq!(load.connection_outcomes(0).get(Outcome::Refused), 3);
        assert_eq!(recorders[0].current().outcomes, Outcomes::default());
    }

    /// How long what should happen may take.
    const DEADLINE: Duration = Duration::from_secs(20);

    #[test]
    fn a_client_that_comes_again_and_again_does_so_when_its_request_could_not_be_sent() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let demand = demand(listener.local_addr().expect("an address"), 1, Pace::Churn);
        let mut recorders = [Recorder::new()];
        let mut load = Generator::connect(&demand, &mut recorders).expect("it");
        load.connect_again(0, &mut recorders).expect("it may");
        let event = loop {
            if let Some(event) = load.next_event(LOOK_EVERY_MS).expect("it may") {
                break event;
            }
        };
        load.connections.stream(0).expect("it").shutdown(Shutdown::Write).expect("it can be");
        let mut quota = Quota::new(Until::Past(DEADLINE), load.now());
        load.take(event, Some(&mut quota), &mut recorders).expect("it may");
        assert!(load.connections.is_free(0));
        assert_eq!(load.groups[0].gone, [0]);
    }

    #[test]
    fn an_open_loop_that_is_behind_reads_and_tells_its_intervals_and_can_be_ended() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("the generator");
            let _ = std::io::copy(&mut stream.try_clone().expect("a clone"), &mut stream);
        });
        let (tells, told) = channel();
        let (over, is_over) = channel();
        let end: &AtomicU64 = Box::leak(Box::new(AtomicU64::new(u64::MAX)));
        thread::spawn(move || {
            let pace = Pace::Open { arrivals: Arrivals::Constant, per_s: 1e8 };
            let demand = demand(address, 1, pace);
            let mut load = Generator::connect(&demand, &mut [Recorder::new()]).expect("it");
            let every = Duration::from_millis(10);
            let mut recorders = [Recorder::telling(tells, every, load.now())];
            load.run(Until::Told(end), &mut recorders).expect("a run");
            let _ = over.send(());
        });
        while told.recv_timeout(DEADLINE).expect("an interval").replies == 0 {}
        end.store(0, Relaxed);
        is_over.recv_timeout(DEADLINE).expect("it ends");
    }

    #[test]
    fn a_generator_that_waits_for_clients_to_come_again_sleeps() {
        let port = crate::server::Port::take([127, 0, 0, 1].into()).expect("a port");
        let address = SocketAddr::from(([127, 0, 0, 1], port.number()));
        let mut recorders = [Recorder::new()];
        let demand = demand(address, 1, Pace::Churn);
        let mut load = Generator::connect(&demand, &mut recorders).expect("it");
        let (time, before) = (Duration::from_millis(300), thread_cpu_ns());
        load.run(Until::Past(time), &mut recorders).expect("a run");
        let worked = Duration::from_nanos(thread_cpu_ns() - before);
        assert!(worked < time / 2, "{worked:?}");
        assert!(load.connection_outcomes(0).get(Outcome::Refused) > 1);
    }
}

# A server that greets, repeats each line after a text, and ends each reply with an empty line.
# check: probed
# cases: framing/ results/ malformed/invalid-utf8
# also: Child processes of the server keep running when SIGTERM arrives during requests
# also: Without a free descriptor the server spins: it keeps a CPU busy and does no work
# probe: greeting = { lines = 1 }
# probe: reply-end = "\n\n"
use strict;
use warnings;
use IO::Socket::INET;

$SIG{PIPE} = 'IGNORE';
$SIG{CHLD} = 'IGNORE';
my ($host, $port) = @ARGV;
my $listener = IO::Socket::INET->new(LocalAddr => $host, LocalPort => $port, Listen => 128,
                                     ReuseAddr => 1) or die "cannot listen: $@\n";
while (1) {
    my $client = $listener->accept() or next;
    if (fork() == 0) {
        $client->autoflush(1);
        print {$client} "Hello!\n";
        while (my $line = <$client>) {
            $line =~ s/\r?\n\z//;
            print {$client} "You said: $line\n\n";
        }
        exit 0;
    }
    close $client;
}

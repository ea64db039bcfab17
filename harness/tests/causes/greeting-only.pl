# A server that sends a greeting, and never answers a request.
# check: --service echo
# cases: framing/ isolation/
# fault: The server sends no reply when it receives its first request
# probe: greeting = { until = "Welcome!" }
use strict;
use warnings;
use IO::Socket::INET;

$SIG{PIPE} = 'IGNORE';
my ($host, $port) = @ARGV;
my $listener = IO::Socket::INET->new(LocalAddr => $host, LocalPort => $port, Listen => 128,
                                     ReuseAddr => 1) or die "cannot listen: $@\n";
while (1) {
    my $client = $listener->accept() or next;
    $client->autoflush(1);
    print {$client} "Welcome!";
    while (my $line = <$client>) {
        # The reply is not implemented yet.
    }
    close $client;
}

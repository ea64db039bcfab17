# A server with a process per client that replies with each line in ROT13. It has no fault.
# check: --service echo --transform rot13
# cases: framing/ results/ malformed/
# also: Child processes of the server keep running when SIGTERM arrives during requests
# probe: service = "echo"
# probe: transform = "rot13"
use strict;
use warnings;
use IO::Socket::INET;

$SIG{CHLD} = 'IGNORE';
$SIG{PIPE} = 'IGNORE';
my ($host, $port) = @ARGV;
my $listener = IO::Socket::INET->new(LocalAddr => $host, LocalPort => $port, Listen => 128,
                                     ReuseAddr => 1) or die "cannot listen: $@\n";
while (1) {
    my $client = $listener->accept();
    if (!$client) {
        select(undef, undef, undef, 0.05);
        next;
    }
    my $child = fork();
    if (!defined $child) {
        close $client;
        next;
    }
    if ($child == 0) {
        close $listener;
        $client->autoflush(1);
        while (my $line = <$client>) {
            $line =~ s/\r?\n?\z//;
            $line =~ tr/A-Za-z/N-ZA-Mn-za-m/;
            print {$client} "$line\n" or last;
        }
        exit 0;
    }
    close $client;
}

#!/bin/sh
# Asks the engine's name server what a program in a container would ask it, from the node and without the engine's API:
# a container has no tool for that. common.sh is put before this.
#   stdin: CONTAINER_ID NAME
# Prints, for each of them, in any order: CONTAINER_ID NAME STATE ADDRESS... The state is `whole`; `cut` when there were
# more addresses than a datagram holds; `none` when the name is not known, or nobody answers within three seconds.
# Nothing is said of a container that does not run.
set -u

# In Perl, which every Debian and Ubuntu has; Socket is in perl-base, too.
# shellcheck disable=SC2016 # Perl's
program='
use strict;
use warnings;
use Socket;

my ($container, @names) = @ARGV;
my $server = pack_sockaddr_in(53, inet_aton("127.0.0.11"));
socket(my $socket, PF_INET, SOCK_DGRAM, 0) or die "socket: $!\n";
my %answers;

# RFC 1035, section 4.1: one question for addresses, recursion desired.
sub question {
  my ($id) = @_;
  my $name = pack "(C/a)* x", split /\./, $names[$id];
  return pack "n6 a* n2", $id, 0x0100, 1, 0, 0, 0, $name, 1, 1;
}

# The place after a name: labels to the empty one, or to two bytes that point elsewhere.
sub past_name {
  my ($message, $at) = @_;
  for (;;) {
    my $length = unpack "x$at C", $message;
    return $at + 2 if $length >= 0xc0;
    $at += 1 + $length;
    return $at if $length == 0;
  }
}

sub take {
  my ($message) = @_;
  my ($id, $flags, undef, $count) = unpack "n4", $message;
  return unless $id < @names && $flags & 0x8000;
  my $at = 4 + past_name($message, 12);
  my @addresses;
  for (1 .. $count) {
    $at = past_name($message, $at);
    my ($type, undef, undef, $data) = unpack "x$at n n N n/a", $message;
    push @addresses, inet_ntoa($data) if $type == 1;
    $at += 10 + length $data;
  }
  my $state = !@addresses ? "none" : $flags & 0x0200 ? "cut" : "whole";
  $answers{$id} = join " ", $state, @addresses;
}

# Datagrams get lost: three times, a second apart.
for my $try (1 .. 3) {
  my @left = grep { !$answers{$_} } 0 .. $#names;
  send $socket, question($_), 0, $server for @left;
  for (my $idle = 0; $idle < 10 && keys %answers < @names; ) {
    my $readable = "";
    vec($readable, fileno $socket, 1) = 1;
    if (select($readable, undef, undef, 0.1) > 0) {
      # A refusal by the port, and what is no whole answer, count as none.
      my $message;
      eval { take($message) if defined recv $socket, $message, 4096, 0 };
    } else {
      $idle++;
    }
  }
}
print "$container $names[$_] ", $answers{$_} || "none", "\n" for 0 .. $#names;
'

asked=$(cat)
for container in $(printf '%s\n' "$asked" | cut -d' ' -f1 | sort -u); do
  {
    process=$(first_process "$container")
    [ -n "$process" ] || exit 0
    # shellcheck disable=SC2046 # names have no blanks
    timeout 10 nsenter -t "$process" -n perl -e "$program" "$container" \
      $(printf '%s\n' "$asked" | sed -n "s/^$container //p")
  } &
done
wait

# Serves the commands of a kept shell, one after another, each in new processes. Joined to one line: no comment may
# follow code. A request is its length in 8 digits, then separated by NUL: the nonce of the markers, the line for
# /bin/sh, and variables NAME=VALUE. Ends when its input ends, instead of a command when a new login could differ, and
# after the seconds without a command that its argument says.
$ENV{_} = '/bin/sh' if exists $ENV{_};
sub get { my $b = ''; while (length $b < $_[0]) { sysread(STDIN, $b, $_[0] - length $b, length $b) or exit } $b }
sub put { my ($f, $b) = @_; while (length $b) { my $n = syswrite $f, $b or exit; substr($b, 0, $n) = '' } }
my %homes = map { $_ => 1 } grep length, $ENV{HOME}, (getpwuid $<)[7];
# What a login depends on: files with their state. Times are in seconds, so the contents of files that are younger than
# a time are a part of it.
sub stamp {
  my $young = $_[0];
  local $/;
  my @files = (
    (map "/etc/$_", qw(passwd group environment login.defs nsswitch.conf locale.conf default/locale ssh/sshrc profile
      bashrc bash.bashrc zshenv zsh/zshenv csh.cshrc fish/config.fish)),
    (map { my ($d, $h) = "/etc/$_"; opendir($h, $d) ? map "$d/$_", sort readdir $h : () }
      qw(security security/limits.d profile.d)),
    (map { my $d = $_; map "$d/$_", qw(.bashrc .bash_aliases .bash_profile .bash_login .profile .zshenv .kshrc .cshrc
      .tcshrc .config/fish/config.fish .pam_environment .ssh/environment .ssh/rc) } sort keys %homes));
  join "\0", (map { (stat)[0, 1] } sort keys %homes),
    map { my ($f, @s) = (undef, stat);
      -f _ ? ($_, @s[0 .. 5, 7, 9, 10], $s[10] > $young && open($f, '<', $_) ? <$f> : ()) : () } @files;
}
my $stamp = stamp($^T - 3);
# After the stamp: a change in between is in the sum alone, and the shell is not kept.
my $sum = 0;
$sum = ($sum * 31 + $_) % 2147483647 for unpack 'N*', stamp(0) . "\0\0\0";
for (;;) {
  $0 = 'target-test shell';
  my $in = "\1";
  select $in, undef, undef, $ARGV[0] or exit;
  my ($nonce, $line, @env) = split /\0/, get(get(8)), -1;
  exit if $stamp ne stamp($^T - 3);
  # The client has gone. If it goes later, it finds the shell, and what the shell starts, by the nonce.
  $0 .= " $nonce";
  $in = "\1";
  exit if select $in, undef, undef, 0;
  # From here on, the command counts as started.
  put(*STDOUT, "\036${nonce}[$sum\036");
  # The types of the command's streams are those of the channel.
  my @pairs = map { my ($r, $w); (-S STDOUT ? socketpair $r, $w, 1, 1, 0 : pipe $r, $w) or exit; [$r, $w] } 0 .. 2;
  my $leader = fork // exit;
  if (!$leader) {
    # As a wrapped command, the leader of the group ignores signals to the group, and outlives the command.
    setpgrp;
    my @signals = qw(HUP INT QUIT USR1 USR2 ALRM TERM);
    $SIG{$_} = sub {} for @signals;
    my $command = fork // exit;
    if (!$command) {
      # The group is told once a signal to it ends the command.
      $SIG{$_} = 'DEFAULT' for @signals;
      put(*STDERR, "\036${nonce}[${\getpgrp}\036");
      open STDIN, '<', '/dev/null';
      open STDOUT, '>&', $pairs[0][1];
      open STDERR, '>&', $pairs[1][1];
      for (@env) { my ($name, $value) = split /=/, $_, 2; $ENV{$name} = $value }
      exec '/bin/sh', '-c', $line;
      kill 9, $$;
    }
    close $_->[1] for @pairs[0, 1];
    1 while waitpid($command, 0) < 0;
    put($pairs[2][1], $?);
    # An exit would clean up for a while.
    kill 9, $$;
  }
  my @from = ([$pairs[0][0], *STDOUT], [$pairs[1][0], *STDERR], [$pairs[2][0]]);
  close $_->[1] for @pairs;
  # After the end of the command, its output is read to the end; a background process that holds it is not waited for.
  my ($status, $rest) = (undef, 1 << 20);
  while (@from && $rest > 0) {
    my $ready = '';
    vec($ready, fileno $_->[0], 1) = 1 for @from;
    select($ready, undef, undef, defined $status ? 0 : undef) or last;
    @from = grep {
      my ($f, $to) = @$_;
      my ($n, $bytes) = 1;
      if (vec $ready, fileno $f, 1) {
        $n = sysread $f, $bytes, 65536;
        if (!$to) { $status = $bytes; $n = 0 }
        elsif ($n) { put($to, $bytes); $rest -= $n if defined $status }
      }
      $n;
    } @from;
  }
  waitpid $leader, 0;
  # A leader that could not start the command reports nothing.
  length $status or $status = $? or exit;
  my $code = $status & 127 ? 128 + ($status & 127) : $status >> 8;
  put(*STDERR, "\036${nonce}]$code\036");
  put(*STDOUT, "\036${nonce}]\036");
}

dnl mailquotad in sendmail.mc: include(`/etc/mail/mailquotad.m4')dnl at its end, then make -C /etc/mail.
LOCAL_CONFIG
# The map is called as mailquotad calls it. With -t, mail comes in unchecked while mailquotad is away.
Kstatus socket -t inet:12344@127.0.0.1

LOCAL_RULESETS
# Every recipient comes through here. What is said of one that is refused looks like 452 4.2.2 Mailbox is full.
SLocal_check_rcpt
R$*			$: $>CanonAddr $1
R$* < @ $+ . > $*	$1 < @ $2 > $3
R$+ < @ $+ > $*		$: <status> $(status $1@$2 $&{msg_size} $: OK $)
R<status> $- $-.$-.$- $*	$#error $@ $2.$3.$4 $: $1 $5
R$*			$@ OK

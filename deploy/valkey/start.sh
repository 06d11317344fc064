#!/bin/sh
# Starts Valkey with the users of users.acl, each with the password that the environment names for it now.
#
# What stays true: no password is an argument of a process, and the file that holds them is on no disk and readable to
# Valkey alone. Needs a tmpfs at /run/valkey.
set -eu
umask 077
eval "cat > /run/valkey/users.acl <<END_OF_USERS
$(cat /etc/valkey/users.acl)
END_OF_USERS"
exec valkey-server /etc/valkey/valkey.conf --aclfile /run/valkey/users.acl

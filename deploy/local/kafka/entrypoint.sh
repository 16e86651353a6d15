#!/bin/sh
# Writes the settings from the KAFKA_ variables (_ is a dot, __ an underscore, ___ a dash, as in apache/kafka),
# formats the storage when it is new, and becomes the broker.
set -eu

settings=/var/lib/kafka/server.properties
env | awk '/^KAFKA_[A-Z_]+=/ {
    at = index($0, "=")
    name = tolower(substr($0, 7, at - 7))
    gsub(/___/, "-", name)
    gsub(/__/, "\001", name)
    gsub(/_/, ".", name)
    gsub(/\001/, "_", name)
    print name "=" substr($0, at + 1)
}' >"$settings"

java="java -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Xms64m -Xmx512m -Dorg.slf4j.simpleLogger.defaultLogLevel=warn"
$java -cp '/opt/kafka/lib/*' kafka.tools.StorageTool format --ignore-formatted \
    --cluster-id "${CLUSTER_ID:-MkU3OEVBNTcwNTJENDM2Qg}" --config "$settings"
exec $java -cp '/opt/kafka/lib/*' kafka.Kafka "$settings"

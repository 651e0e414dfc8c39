#!/usr/bin/env bash
# Writes configuration files from variables such as HDFS-SITE.XML_dfs.replication=1, formats the NameNode's folder if
# ENSURE_NAMENODE_DIR names one that does not exist, then becomes the command.
set -euo pipefail

declare -A properties=()
# A shell cannot name these variables: they are read as the kernel handed them over.
while IFS='=' read -r -d '' name value; do
  [[ $name =~ ^([A-Za-z-]+)\.(XML|xml)_(.+)$ ]] || continue
  properties[${BASH_REMATCH[1],,}.xml]+="<property><name>${BASH_REMATCH[3]}</name><value>$value</value></property>"$'\n'
done < /proc/$$/environ
for file in "${!properties[@]}"; do
  printf '<configuration>\n%s</configuration>\n' "${properties[$file]}" > "$HADOOP_CONF_DIR/$file"
done

if [[ -n ${ENSURE_NAMENODE_DIR:-} && ! -d $ENSURE_NAMENODE_DIR ]]; then
  hdfs namenode -format -force ${ENSURE_NAMENODE_CLUSTERID:+-clusterid "$ENSURE_NAMENODE_CLUSTERID"}
fi

exec "$@"

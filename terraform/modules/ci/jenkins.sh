#!/bin/bash
# Makes this machine Jenkins: Java, Jenkins, its home on the disk that outlives the machine. Safe to run again.
set -euo pipefail

for try in $(seq 60); do [ -b /dev/sdf ] && break; sleep 5; done
blkid /dev/sdf || mkfs.xfs -L jenkins /dev/sdf
mkdir -p /var/lib/jenkins
grep -q LABEL=jenkins /etc/fstab || echo 'LABEL=jenkins /var/lib/jenkins xfs defaults,noatime,nofail 0 2' >> /etc/fstab
mountpoint -q /var/lib/jenkins || mount /var/lib/jenkins

cat > /etc/yum.repos.d/jenkins.repo <<'REPO'
[jenkins]
name=Jenkins LTS
baseurl=https://pkg.jenkins.io/redhat-stable
gpgcheck=1
gpgkey=https://pkg.jenkins.io/redhat-stable/jenkins.io-2023.key
REPO
dnf install -y java-21-amazon-corretto-headless fontconfig git jq jenkins
chown jenkins: /var/lib/jenkins

# Who may connect is the security group's: agents in the cluster, and nobody from outside; a forwarded port of Session Manager is
# this machine. casc.env says where Jenkins as code is, once somebody has laid it there (docs/PIPELINES.md); until then Jenkins
# asks for its first password.
mkdir -p /etc/systemd/system/jenkins.service.d
cat > /etc/systemd/system/jenkins.service.d/listen.conf <<'UNIT'
[Service]
Environment="JENKINS_LISTEN_ADDRESS=0.0.0.0"
Environment="JENKINS_PORT=8080"
EnvironmentFile=-/var/lib/jenkins/casc.env
UNIT

systemctl daemon-reload
systemctl enable --now jenkins

output "backend" {
  description = "msk or ec2."
  value       = var.backend
}

output "bootstrap" {
  description = "Brokers as clients name them, host:port with commas."
  value       = var.backend == "msk" ? one(aws_msk_cluster.this[*].bootstrap_brokers_sasl_scram) : local.bootstrap_ec2
}

output "security" {
  description = "How a client speaks to the brokers, as rtcd names it."
  value       = var.backend == "msk" ? "sasl_tls" : "sasl_plaintext"
}

output "mechanism" {
  description = "SASL mechanism."
  value       = "SCRAM-SHA-512"
}

output "username" {
  description = "User of the brokers."
  value       = local.username
}

output "replication" {
  description = "Copies that a topic can have."
  value       = local.replication
}

output "secret_arn" {
  description = "Secret with the user's password."
  value       = aws_secretsmanager_secret.client.arn
}

output "instance_ids" {
  description = "Brokers on EC2 by name."
  value       = { for name, instance in aws_instance.broker : name => instance.id }
}

output "log_group" {
  description = "Log group of the brokers."
  value       = aws_cloudwatch_log_group.this.name
}

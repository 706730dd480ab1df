output "identifier" {
  description = "Identifier of the primary."
  value       = aws_db_instance.primary.identifier
}

output "replica_identifiers" {
  description = "Identifiers of the read replicas."
  value       = [for replica in aws_db_instance.replica : replica.identifier]
}

output "host" {
  description = "Host of the primary."
  value       = aws_db_instance.primary.address
}

output "reader_hosts" {
  description = "Hosts of the read replicas."
  value       = [for replica in aws_db_instance.replica : replica.address]
}

output "port" {
  description = "Port of the database."
  value       = aws_db_instance.primary.port
}

output "master_secret_arn" {
  description = "Secret with the master's password."
  value       = aws_secretsmanager_secret.master.arn
}

output "service_secret_arns" {
  description = "Secrets with the services' users, by service."
  value       = { for service, secret in aws_secretsmanager_secret.service : service => secret.arn }
}

output "log_groups" {
  description = "Log groups of the primary and its replicas."
  value       = sort([for group in aws_cloudwatch_log_group.this : group.name])
}

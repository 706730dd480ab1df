output "id" {
  description = "Replication group."
  value       = aws_elasticache_replication_group.this.id
}

output "member_ids" {
  description = "The group's nodes, as metrics name them."
  value       = [for index in range(var.replicas + 1) : format("%s-%03d", var.name, index + 1)]
}

output "host" {
  description = "Host that is written to."
  value       = aws_elasticache_replication_group.this.primary_endpoint_address
}

output "reader_host" {
  description = "Host that spreads reads over the replicas."
  value       = aws_elasticache_replication_group.this.reader_endpoint_address
}

output "port" {
  description = "Port of the cache."
  value       = aws_elasticache_replication_group.this.port
}

output "secret_arn" {
  description = "Secret with the token."
  value       = aws_secretsmanager_secret.token.arn
}

output "log_groups" {
  description = "Slow and engine log."
  value       = sort([for group in aws_cloudwatch_log_group.this : group.name])
}

output "name" {
  description = "Name of the domain."
  value       = aws_opensearch_domain.this.domain_name
}

output "url" {
  description = "Address of the domain's REST API."
  value       = "https://${aws_opensearch_domain.this.endpoint}"
}

output "master_role_arn" {
  description = "Role that may do everything in the domain."
  value       = aws_iam_role.master.arn
}

output "log_groups" {
  description = "Log groups of the domain."
  value       = sort([for group in aws_cloudwatch_log_group.this : group.name])
}

output "repository_urls" {
  description = "Repositories by image."
  value       = { for image, repository in aws_ecr_repository.this : image => repository.repository_url }
}

output "repository_arns" {
  description = "ARNs of the repositories by image."
  value       = { for image, repository in aws_ecr_repository.this : image => repository.arn }
}

output "registry_id" {
  description = "Account that holds the registry."
  value       = one(distinct([for repository in aws_ecr_repository.this : repository.registry_id]))
}

resource "aws_elasticache_subnet_group" "this" {
  count = 0
}

resource "aws_elasticache_parameter_group" "this" {
  count = 0
}

resource "aws_elasticache_replication_group" "this" {
  count                = 0
  parameter_group_name = "default.redis7"
  subnet_group_name    = var.name
}

output "id" {
  value = var.name
}

output "host" {
  value = "cache.invalid"
}

output "reader_host" {
  value = "cache.invalid"
}

output "port" {
  value = 6379
}

# AWS services inside the VPC: what is pulled, signed and logged does not leave it.

locals {
  endpoint_zones = var.interface_endpoint_zones == "all" ? var.zones : slice(var.zones, 0, 1)
}

resource "aws_vpc_endpoint" "s3" {
  vpc_id            = aws_vpc.this.id
  service_name      = "com.amazonaws.${local.region}.s3"
  vpc_endpoint_type = "Gateway"
  route_table_ids   = concat([for table in aws_route_table.private : table.id], [aws_route_table.database.id])

  tags = { Name = "${var.name}-s3" }
}

resource "aws_vpc_endpoint" "interface" {
  for_each = var.interface_endpoints

  vpc_id              = aws_vpc.this.id
  service_name        = "com.amazonaws.${local.region}.${each.value}"
  vpc_endpoint_type   = "Interface"
  private_dns_enabled = true
  security_group_ids  = [aws_security_group.role["endpoints"].id]
  subnet_ids          = [for zone in local.endpoint_zones : aws_subnet.private[zone].id]

  tags = { Name = "${var.name}-${each.value}" }
}
